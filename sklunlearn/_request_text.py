"""Plain values as JSON and YAML, read without surprises."""

import json

from sklunlearn._shown import shown

__all__ = ["json_of", "parse_json", "parse_yaml", "yaml_of"]


def json_of(values):
    """Values as an indented JSON text that ends with a new line."""
    return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def parse_json(text):
    """Values of a JSON text; a ValueError for repeated keys, and for what is not JSON."""
    if not isinstance(text, str):
        raise TypeError(f"JSON must be a str, got {type(text).__name__}.")
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Not a valid JSON text: {error}. It begins {shown(text[:60])}.") from None


def yaml_of(values):
    """Values as a YAML text."""
    return _yaml().safe_dump(values, sort_keys=False, allow_unicode=True)


def parse_yaml(text):
    """Values of a YAML text, of which only plain types are read; errors as for JSON."""
    if not isinstance(text, str):
        raise TypeError(f"YAML must be a str, got {type(text).__name__}.")
    yaml = _yaml()

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node, deep=False):
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            _unique([(key, None) for key in keys if isinstance(key, str)])
            return super().construct_mapping(node, deep)

        def compose_node(self, parent, index):
            # A few lines of aliases of aliases stand for billions of values.
            if self.check_event(yaml.AliasEvent):
                raise ValueError("aliases (*name) are not read, write the value")
            return super().compose_node(parent, index)

    try:
        return yaml.load(text, Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"Not a valid YAML text: {error}. It begins {shown(text[:60])}.") from None


def _unique(pairs):
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {shown(repeated)} is there twice")
    return values


def _refuse(constant):
    raise ValueError(f"{constant} is not a number of JSON")


def _yaml():
    try:
        import yaml
    except ImportError:
        raise ImportError(
            "Requests in YAML need PyYAML: pip install 'sklunlearn[yaml]'. JSON needs nothing."
        ) from None
    return yaml
