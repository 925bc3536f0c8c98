"""What a column is for, told by its name: ids, time, labels, and what no model may see."""

import re
from collections.abc import Callable, Iterable

USER_IDS = (
    *("user_id", "userid", "uid", "user", "user_key", "customer_id", "customer", "visitor_id", "visitor", "member_id"),
    *("account_id", "client_id", "buyer_id", "person_id", "person", "cookie_id", "device_id", "session_id"),
)
ITEM_IDS = (
    *("item_id", "itemid", "iid", "item", "item_key", "product_id", "product", "sku", "sku_id", "asin", "article_id"),
    *("ad_id", "adid", "creative_id", "offer_id", "goods_id", "listing_id", "movie_id", "video_id", "song_id"),
    *("track_id", "book_id", "news_id", "post_id", "content_id", "doc_id", "document_id"),
)
TIMES = (
    *("timestamp", "event_timestamp", "time", "event_time", "impression_time", "ts", "datetime", "date_time"),
    *("created_at", "occurred_at", "shown_at", "time_stamp", "unixtime", "date"),
)
CLICKS = (
    "click",
    "clicked",
    "is_click",
    "is_clicked",
    "clicks",
    "click_label",
    "label_click",
    "ctr_label",
    "label_ctr",
)
CONVERSIONS = (
    *("conversion", "converted", "is_conversion", "is_converted", "conv", "purchase", "purchased", "is_purchase"),
    *("bought", "buy", "is_buy", "order", "ordered", "paid", "conversion_label", "label_conversion", "cvr_label"),
    *("label_cvr", "purchase_label", "is_purchased"),
)
OTHER_LABELS = (
    *("label", "target", "y", "like", "liked", "is_like", "follow", "followed", "share", "shared", "favorite"),
    *("add_to_cart", "cart", "install", "installed", "signup", "subscribed", "is_attributed", "outcome"),
)
CROSS = ("position", "pos", "rank", "slot", "affinity", "score", "relevance", "distance", "similarity")
NOT_A_FEATURE = (
    *("index", "row", "row_id", "id", "impression_id", "request_id", "event_id", "log_id", "sample_id", "unnamed_0"),
)
_LEAK = re.compile(
    r"(^|_)(label|target|propensity|truth)(_|$)|^(click|conversion|purchase|order|buy)_(time|ts|at|date|timestamp|value|amount)"
    r"|^(clicked|converted|purchased|ordered|bought)_at$|^(revenue|dwell_time|watch_time|reward)$"
)
_CODE = re.compile(
    r"(^|_)(ids?|codes?|key|type|category|cat|class|zip|zipcode|postcode|brand|shop|store|city|region|zone|country|state"
    r"|segment|group|cluster|level|tier|bucket|channel|page|hour|weekday|month|device|model|version|occupation)$"
)


def plain(name: str) -> str:
    """A column name in snake case: `User ID`, `userId` and `user-id` are `user_id`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")


def slug(name: str, taken: Iterable[str]) -> str:
    """A field name for a column: what the schema allows of its letters, and not taken yet."""
    base = re.sub(r"[^A-Za-z0-9_.\-]+", "_", name).strip("_.-")[:56] or "field"
    used = set(taken)
    return next(name for i in range(1, len(used) + 2) if (name := base if i == 1 else f"{base}_{i}") not in used)


def first_named(
    names: Iterable[str], known: tuple[str, ...], fits: Callable[[str], bool] = lambda _: True
) -> str | None:
    """The column whose name comes first among `known` and that fits."""
    ranked = sorted((known.index(plain(name)), name) for name in names if plain(name) in known)
    return next((name for _, name in ranked if fits(name)), None)


def leaks(name: str) -> bool:
    """Whether a name says that its values come from the label or from the logging policy."""
    return _LEAK.search(plain(name)) is not None


def is_code(name: str) -> bool:
    """Whether a name says that numbers in it are names of things."""
    return _CODE.search(plain(name)) is not None
