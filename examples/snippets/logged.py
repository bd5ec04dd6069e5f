"""Log records with their fields, one line of JSON each."""

import asyncio
import json
import logging
import sys

from openwop.devhost import DevHost


# --8<-- [start:json]
class Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {name: value for name, value in vars(record).items() if name.startswith("openwop_")}
        return json.dumps({"logger": record.name, "text": record.getMessage(), **fields})


handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(Lines())
logging.getLogger("openwop").addHandler(handler)
logging.getLogger("openwop").setLevel(logging.DEBUG)
# --8<-- [end:json]


async def main() -> None:
    async with DevHost() as host, host.client(protocol="1") as client:
        await client.runs.create("conformance-noop")


if __name__ == "__main__":
    asyncio.run(main())
