"""A Kafka topic. Offsets are in our own cursor, written with the sums; Kafka is asked for no group."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from contract.errors import StoreError
from service.experiments.outcomes.entry import Entry, Position, entry

Result = TypeVar("Result")
_WAIT_MS = 200
_REFRESH_MS = 30_000  # until new partitions are seen


class KafkaSource:
    """All partitions of a topic, in an event loop that runs while it is read."""

    def __init__(self, servers: str, topic: str) -> None:
        self.name = f"kafka://{servers}/{topic}"
        self._servers, self._topic = servers, topic
        self._runner = asyncio.Runner()
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what is wrong is said in our own line
        self._consumer: AIOKafkaConsumer | None = None
        self._position = Position()

    def seek(self, position: Position) -> None:
        """Go on from here."""
        self._position = dict(position)
        if self._consumer is not None:
            self._run(self._assign(self._consumer, again=True))

    def read(self, most: int) -> list[Entry]:
        """The next records of all partitions, as they arrive; in order within each."""
        return self._run(self._read(most))

    def lag(self) -> str:
        """In records."""
        return f"{self._run(self._behind()):,} records"

    def trim(self, position: Position) -> None:
        """Kafka keeps records as long as its topic says."""

    def close(self) -> None:
        """Leave."""
        if self._consumer is not None:
            self._runner.run(self._consumer.stop())
            self._consumer = None
        self._runner.close()

    def _run(self, job: Coroutine[Any, Any, Result]) -> Result:
        try:
            return self._runner.run(job)
        except (KafkaError, OSError) as error:
            raise StoreError(f"{self.name}: {' '.join(str(error).split()) or type(error).__name__}") from None

    async def _read(self, most: int) -> list[Entry]:
        consumer = await self._started()
        await self._assign(consumer)
        found = await consumer.getmany(timeout_ms=_WAIT_MS, max_records=most)
        return [
            entry(str(partition.partition), record.offset + 1, record.value or b"", str(partition.partition))
            for partition, records in found.items()
            for record in records
        ]

    async def _behind(self) -> int:
        consumer = await self._started()
        await self._assign(consumer)
        ends = await consumer.end_offsets(consumer.assignment())
        return sum([int(end) - int(await consumer.position(partition)) for partition, end in ends.items()])

    async def _started(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self._servers,
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                isolation_level="read_committed",
                metadata_max_age_ms=_REFRESH_MS,
            )
            try:
                await consumer.start()
            except BaseException:
                await consumer.stop()
                raise
            self._consumer = consumer
        return self._consumer

    async def _assign(self, consumer: AIOKafkaConsumer, again: bool = False) -> None:
        """Read every partition there is, each from its position."""
        numbers = consumer.partitions_for_topic(self._topic)
        if numbers is None:
            await consumer._client.force_metadata_update()
            consumer._client.add_topic(self._topic)
            numbers = consumer.partitions_for_topic(self._topic) or set()
        wanted = {TopicPartition(self._topic, number) for number in numbers}
        new = wanted if again else wanted - consumer.assignment()
        if not new:
            return
        held = {each: await consumer.position(each) for each in consumer.assignment() - new}
        consumer.assign(list(wanted))
        for each in wanted:
            at = held.get(each, self._position.get(str(each.partition)))
            if at is None:
                await consumer.seek_to_beginning(each)
            else:
                consumer.seek(each, int(at))
