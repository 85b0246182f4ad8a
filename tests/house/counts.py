#!/usr/bin/env python3
"""Counts what the plan of the house asks for, always by the same rules.

Usage: tests/house/counts.py             the table
       tests/house/counts.py --list WORD  what is behind a row: types, functions, columns, docs
       tests/house/counts.py --json      for scripts
       tests/house/counts.py --root DIR   another tree, such as an older commit

Inline tests are left out of `src`. A why-comment is a `//` line inside code. A function's length is
from its `fn` line to its closing brace.
"""

import argparse
import collections
import json
import pathlib
import re
import sys

FUNCTION = re.compile(r"^\s*(pub(\([^)]*\))? )?(const |async |unsafe )*fn (\w+)")
TYPE = re.compile(r"^\s*(pub(\([^)]*\))? )?(struct|enum|trait|union|type) (\w+)")
LONGEST_FUNCTION = 80
WIDEST_LINE = 100


def without_tests(lines):
    """The lines of a source file without its inline test modules."""
    kept, index = [], 0
    while index < len(lines):
        if lines[index].strip() == "#[cfg(test)]":
            following = index + 1
            while following < len(lines) and lines[following].strip().startswith("#["):
                following += 1
            if following < len(lines) and re.match(r"^\s*(pub )?mod \w+ \{", lines[following]):
                indent = len(lines[following]) - len(lines[following].lstrip())
                while lines[following] != " " * indent + "}":
                    following += 1
                index = following + 1
                continue
        kept.append((index + 1, lines[index]))
        index += 1
    return kept


def length_of_function(lines, start):
    """How many lines a function has; rustfmt puts its end below its beginning."""
    indent = len(lines[start]) - len(lines[start].lstrip())
    for index in range(start, len(lines)):
        text = lines[index]
        if index > start and text == " " * indent + "}":
            return index - start + 1
        if text.rstrip().endswith(("{}", "}", ";")) and index == start:
            return 1
        if text.rstrip().endswith(";") and len(text) - len(text.lstrip()) == indent:
            return index - start + 1
    return 1


def is_short_doc(block):
    """Whether a doc comment has so few words that it says no more than the name below it."""
    return len(" ".join(block).split()) <= 3


def count(root):
    """Every count, and behind some of them where the things are."""
    files = sorted((root / "src").rglob("*.rs"))
    types = collections.defaultdict(list)
    functions, columns, docs = [], [], []
    totals = collections.Counter(files=len(files))
    for path in files:
        name = path.relative_to(root).as_posix()
        kept = without_tests(path.read_text().splitlines())
        texts = [text for _, text in kept]
        block = []
        for index, (number, text) in enumerate(kept):
            bare = text.strip()
            totals["lines"] += 1
            totals["why"] += bare.startswith("//") and not bare.startswith(("///", "//!"))
            totals["docs"] += bare.startswith(("///", "//!"))
            totals["public"] += bool(re.match(r"^\s*pub (?!use|mod)\w", text))
            if bare.startswith("///"):
                block.append(bare[3:])
            elif block:
                totals["doc_blocks"] += 1
                if is_short_doc(block):
                    docs.append(f"{name}:{number} {' '.join(block).strip()}")
                block = []
            if found := TYPE.match(text):
                # An associated type has the name that its trait gives it.
                if not (found[3] == "type" and text.startswith(" ")):
                    types[found[4]].append(f"{name}:{number}")
            if found := FUNCTION.match(text):
                length = length_of_function(texts, index)
                if length > LONGEST_FUNCTION:
                    functions.append(f"{name}:{number} {found[4]}: {length}")
    for folder in ["src", "tests", "benches", "shaders", "compat", "fuzz"]:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in {".rs", ".wgsl"}:
                continue
            for number, text in enumerate(path.read_text().splitlines(), 1):
                if len(text) > WIDEST_LINE:
                    columns.append(f"{path.relative_to(root).as_posix()}:{number} {len(text)}")
    twice = {}
    for name, places in types.items():
        if len({place.split(":")[0] for place in places}) > 1:
            twice[name] = places
    rows = {
        "files": totals["files"],
        "lines": totals["lines"],
        "doc lines, %": round(100 * totals["docs"] / totals["lines"], 1),
        "doc blocks of three words or fewer": len(docs),
        "why-comments, %": round(100 * totals["why"] / totals["lines"], 2),
        "public items": totals["public"],
        "type names in more than one file": len(twice),
        f"functions over {LONGEST_FUNCTION} lines": len(functions),
        f"lines over {WIDEST_LINE} columns": len(columns),
    }
    lists = {
        "types": [f"{name}: {', '.join(places)}" for name, places in sorted(twice.items())],
        "functions": functions,
        "columns": columns,
        "docs": docs,
    }
    return rows, lists


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=pathlib.Path)
    parser.add_argument("--list", choices=["types", "functions", "columns", "docs"])
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    root = args.root or pathlib.Path(__file__).resolve().parents[2]
    rows, lists = count(root)
    if args.list:
        print("\n".join(lists[args.list]))
    elif args.json:
        json.dump(rows, sys.stdout, indent=2)
        print()
    else:
        for name, value in rows.items():
            print(f"{value:>8}  {name}")


if __name__ == "__main__":
    main()
