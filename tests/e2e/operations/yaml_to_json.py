"""Prints the documents of YAML files as one JSON object, by file name. `--compose`: the files are compose files, which are checked
against the specification of the format; variables with defaults get them, extensions are left out."""

import json
import re
import sys
from pathlib import Path

import yaml

compose = sys.argv[1] == "--compose"
found = {}
for path in sys.argv[1 + compose :]:
    text = Path(path).read_text()
    if compose:
        text = re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", text)
    documents = [document for document in yaml.safe_load_all(text) if document is not None]
    if compose:
        from compose_spec import PyCompose

        for document in documents:
            for key in [key for key in document if key.startswith("x-")]:
                del document[key]
            PyCompose.from_json(json.dumps(document)).validate()
    found[Path(path).name] = documents
json.dump(found, sys.stdout)
