"""One YAML file into nodes with lines, noting every mistake instead of stopping at the first."""

from __future__ import annotations

from pathlib import Path

import yaml

from fleet.errors import Mistake


class Document:
    """A file being read: hands out its nodes as text and notes what is wrong with them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mistakes: list[Mistake] = []

    def compose(self) -> yaml.Node | None:
        """The file's root node; None with a mistake noted when it cannot be read or is not YAML."""
        try:
            text = self.path.read_text(encoding="utf-8")
            root: yaml.Node | None = yaml.compose(text, Loader=yaml.CSafeLoader)
        except (OSError, UnicodeDecodeError) as exc:
            self.complain(None, f"cannot be read: {exc}")
            return None
        except yaml.MarkedYAMLError as exc:
            self._note(exc.problem_mark.line + 1 if exc.problem_mark else 0, f"not YAML: {exc.problem}")
            return None
        except yaml.YAMLError as exc:
            self.complain(None, f"not YAML: {exc}")
            return None
        if root is None:
            self.complain(None, "the file is empty")
        return root

    def complain(self, node: yaml.Node | None, text: str, key: str = "") -> None:
        """Note a mistake at that node, or with the file as a whole."""
        self._note(node.start_mark.line + 1 if node else 0, text, key)

    def mapping(
        self, node: yaml.Node, required: frozenset[str], optional: frozenset[str] = frozenset()
    ) -> dict[str, yaml.Node] | None:
        """The mapping's values by key; unknown, doubled and missing keys are noted. None: not a mapping."""
        if not isinstance(node, yaml.MappingNode):
            self.complain(node, "a mapping is expected here")
            return None
        found: dict[str, yaml.Node] = {}
        for key_node, value in node.value:
            key = self.text(key_node)
            if key in found:
                self.complain(key_node, f"key {key!r} is doubled", key)
            elif key not in required | optional:
                known = ", ".join(sorted(required | optional))
                self.complain(key_node, f"unknown key {key!r} (known: {known})", key)
            else:
                found[key] = value
        for key in sorted(required - found.keys()):
            self.complain(node, f"key {key!r} is missing", key)
        return found

    def pairs(self, node: yaml.Node) -> dict[str, yaml.Node]:
        """The values by key of a mapping whose keys are anybody's, at least one; doubled ones are noted."""
        if not isinstance(node, yaml.MappingNode) or not node.value:
            self.complain(node, "a mapping with at least one entry is expected here")
            return {}
        return self.mapping(node, frozenset(), frozenset(self.text(key) for key, _ in node.value)) or {}

    def line_of(self, key: str) -> int:
        """The line on which the value of that key of the root begins; 0 when it is not there."""
        root = self.compose()
        entries = root.value if isinstance(root, yaml.MappingNode) else []
        return next((int(value.start_mark.line) + 1 for name, value in entries if name.value == key), 0)

    def sequence(self, node: yaml.Node | None) -> list[yaml.Node]:
        """The list's nodes; none when the key is absent. An empty list is a mistake."""
        if node is None:
            return []
        if isinstance(node, yaml.SequenceNode) and node.value:
            return list(node.value)
        self.complain(node, "a list with at least one entry is expected here")
        return []

    def text(self, node: yaml.Node | None) -> str:
        """The scalar as it is written, spaces at its ends removed; "" when the key is absent."""
        if node is None:
            return ""
        if isinstance(node, yaml.ScalarNode) and node.value.strip():
            return str(node.value).strip()
        self.complain(node, "a text is expected here")
        return ""

    def number(self, node: yaml.Node | None, default: int) -> int:
        """A whole number above zero."""
        text = self.text(node)
        if not text:
            return default
        if text.isascii() and text.isdigit() and len(text) <= 12 and int(text) > 0:
            return int(text)
        self.complain(node, f"a whole number above zero is expected, not {text!r}")
        return default

    def flag(self, node: yaml.Node | None) -> bool:
        """true or false; false when the key is absent."""
        text = self.text(node)
        if text not in ("", "true", "false"):
            self.complain(node, f"true or false is expected, not {text!r}")
        return text == "true"

    def _note(self, line: int, text: str, key: str = "") -> None:
        self.mistakes.append(Mistake(path=str(self.path), line=line, text=text, key=key))
