"""A bulk job in several processes: every item has its partition, and every partition a journal of its own.

python process_pool.py ITEMS.jsonl FOLDER

Whatever becomes of it, say the same again, here or on another machine that has the folder: what is missing is
created, and nothing twice. An item's partition follows from its name. So it is the same in every run, and equal items
are in the same one: two partitions that made them at the same time could not tell whose a lost one is. Items that are
merely alike (one prompt, many names) are told apart by exact="marker", for a second request each; without it, lost
ones may end as unknown while other partitions run. PARTS belongs to the job: another number is another job.
"""

import json
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from zlib import crc32

from lisn_sync import Lisn

PARTS = 4


def create_part(items, folder, part):
    specs = map(json.loads, Path(items).read_bytes().splitlines())
    mine = [spec for spec in specs if crc32(spec["name"].encode()) % PARTS == part]
    with Lisn() as client:
        return client.assistants.create_many(mine, journal=f"{folder}/{part}.journal", exact="marker")


if __name__ == "__main__":
    with ProcessPoolExecutor(PARTS) as pool:
        for done in pool.map(partial(create_part, *sys.argv[1:]), range(PARTS)):
            print(f"{len(done.created)} created, {len(done.failed)} failed, {len(done.unknown)} unknown")
