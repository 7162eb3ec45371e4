"""What leaves as files: a filter, with people's decisions, in the formats that other tools read.

selection    who is kept, streamed, and the counts
options      how image files leave, how large shards are, which further column goes along
registry     the formats by name, one file each
write        one export: built under a temporary name, with rule, counts, hash and versions beside it
load         our own reader: ids, weights, and torch's Subset and sampler
"""

from mimic.reports.exports.load import load_filter
from mimic.reports.exports.options import Options
from mimic.reports.exports.registry import FORMATS, format_of
from mimic.reports.exports.selection import Selection
from mimic.reports.exports.write import Export, export_bytes, rule_bytes, write_export

__all__ = [
    "FORMATS",
    "Export",
    "Options",
    "Selection",
    "export_bytes",
    "format_of",
    "load_filter",
    "rule_bytes",
    "write_export",
]
