"""A Kafka topic, keyed by user. Needs the extra `kafka`.

A batch goes as one Kafka batch a partition, which a broker takes whole or not at all: so numbers of a producer grow
within a partition, also where a batch is sent again. A producer that failed is replaced, since sequence numbers that an
idempotent one has given away are lost to it.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from service.experiments.log.sinks import Line, SinkDown

_SECONDS = 5.0  # for a batch, the first connection included
_STOP_SECONDS = 0.5
_BATCH_BYTES = 512 << 10  # brokers refuse more than 1 MB by default


class KafkaSink:
    """Produces with idempotence. ImportError without aiokafka."""

    def __init__(self, servers: str, topic: str) -> None:
        import aiokafka

        self.name = f"kafka://{servers}/{topic}"
        self._servers, self._topic, self._aiokafka = servers, topic, aiokafka
        self._producer: Any = None
        self._stopping: set[asyncio.Task[None]] = set()
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # the log says itself, once, that its sink is down

    async def write(self, batch: Sequence[Line]) -> None:
        """Return when every partition has acknowledged its share."""
        try:
            async with asyncio.timeout(_SECONDS):
                await self._send(batch)
        except TimeoutError:
            await self.close()
            raise SinkDown(f"no answer within {_SECONDS:g} s") from None
        except (self._aiokafka.errors.KafkaError, OSError) as error:
            await self.close()
            raise SinkDown(" ".join(str(error).split()) or type(error).__name__) from None
        except asyncio.CancelledError:
            await self.close()
            raise

    async def _send(self, batch: Sequence[Line]) -> None:
        if self._producer is None:
            self._producer = self._aiokafka.AIOKafkaProducer(
                bootstrap_servers=self._servers,
                enable_idempotence=True,
                max_batch_size=_BATCH_BYTES,
                request_timeout_ms=int(_SECONDS * 1000),
            )
            await self._producer.start()
        partitions = sorted(await self._producer.partitions_for(self._topic))
        shares: defaultdict[int, list[Line]] = defaultdict(list)
        for line in batch:
            shares[self._partition(line, partitions)].append(line)
        await asyncio.gather(*(self._send_share(partition, share) for partition, share in shares.items()))

    def _partition(self, line: Line, partitions: list[int]) -> int:
        chosen: int = self._aiokafka.producer.producer.DefaultPartitioner()(line.user.encode(), partitions, partitions)
        return chosen

    async def _send_share(self, partition: int, share: Sequence[Line]) -> None:
        """One Kafka batch after the other, where one cannot hold all."""
        start = 0
        while start < len(share):
            builder = self._producer.create_batch()
            count = 0
            for line in share[start:]:
                if builder.append(timestamp=None, key=line.user.encode(), value=line.text) is None:
                    break
                count += 1
            await (await self._producer.send_batch(builder, self._topic, partition=partition))
            start += count

    async def close(self) -> None:
        """Stop the producer; the next batch gets another."""
        producer, self._producer = self._producer, None
        if producer is not None:
            stopping = asyncio.create_task(self._stop(producer))  # waits for all that was sent, or its timeout
            self._stopping.add(stopping)
            stopping.add_done_callback(self._stopping.discard)
            await asyncio.wait([stopping], timeout=_STOP_SECONDS)

    async def _stop(self, producer: Any) -> None:
        with suppress(self._aiokafka.errors.KafkaError):
            await producer.stop()
