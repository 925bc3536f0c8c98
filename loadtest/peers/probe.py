"""POST a body until it is answered: `python -m loadtest.peers.probe URL SECONDS < body`, the reply on stdout.

A process of its own, since a peer may run in a network that only a child can enter. Standard library alone.
"""

import sys
import time
import urllib.error
import urllib.request


def main(url: str, seconds: float) -> int:
    """0 with the reply, or 1 with the last refusal in one line."""
    request = urllib.request.Request(url, sys.stdin.buffer.read(), {"Content-Type": "application/json"})
    deadline, refusal = time.monotonic() + seconds, ""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline:
        try:
            with opener.open(request, timeout=10) as reply:
                sys.stdout.buffer.write(reply.read())
                return 0
        except urllib.error.HTTPError as error:
            refusal = f"{error.code} {error.read()[:200].decode(errors='replace')}"
        except OSError as error:
            refusal = str(error)
        time.sleep(0.1)
    print(" ".join(refusal.split()), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2])))
