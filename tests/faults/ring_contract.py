"""How many of each fault are tried, and where the figures reached are told.

A tenth of the contract's counts by default, all of them with SOAK=1. With SOAK_TABLE=FILE each test appends one JSON
line, {"row": contract row, "figure": text}, of which a table can be made.
"""

import json
import os


def share(full_count):
    return full_count if os.environ.get("SOAK") == "1" else max(1, full_count // 10)


def reached(row, figure):
    print(f"contract row {row}: {figure}")
    table = os.environ.get("SOAK_TABLE")
    if table:
        with open(table, "a") as file:
            file.write(json.dumps({"row": row, "figure": figure}) + "\n")
