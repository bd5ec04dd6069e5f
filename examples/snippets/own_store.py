"""Another place for a host's runs, held to everything that a store has to do."""

from openwop.devhost.store_memory import MemoryStore
from openwop.devhost.store_tests import StoreChecks, check_store


# --8<-- [start:own-store]
class MyStore(MemoryStore):
    """Yours: anything that fits `openwop.devhost.store.Store`."""


class TestMyStore(StoreChecks):
    """What pytest runs; `durable = True` has a store opened again and looked at."""

    durable = False

    def open_store(self) -> MyStore:
        return MyStore()


# --8<-- [end:own-store]

if __name__ == "__main__":
    count = check_store(MyStore, empty=lambda: None)
    print("kept every rule" if count > 15 else "too few rules")
