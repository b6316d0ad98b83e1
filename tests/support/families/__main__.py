"""Print the tables of families, for transforms/methods/README.md."""

from __future__ import annotations

import sys

from tests.support.families import applications, hub, table

sys.stdout.write(table.of(applications.TITLE, applications.FAMILIES) + "\n" + table.of(hub.TITLE, hub.FAMILIES))
