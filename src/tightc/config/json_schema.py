"""JSON Schema (draft 2020-12) of the YAML files, for editors that complete and check keys."""

from __future__ import annotations

from typing import Any, get_origin

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from tightc.config.options import Options, inner_options
from tightc.config.shipped import shipped_names

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PATH = r"\.ya?ml$"
_OUTSIDE = ("default", "description", "examples")  # keys of a property that stay outside of its alternatives


def json_schema(kind: type[Options]) -> dict[str, Any]:
    """The schema of a YAML file of `kind`; what it cannot say, such as rules between keys, is left to the reader."""
    return {"$schema": _DIALECT, **kind.model_json_schema(schema_generator=_Generator)}


class _Generator(GenerateJsonSchema):
    """Pydantic's schemas, with the names and paths of files where options lie within options."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """No: pydantic's titles only repeat the keys."""
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """The schema of one class of options."""
        found = super().model_schema(schema)
        kind = schema["cls"]
        if not issubclass(kind, Options):
            return found
        found["description"] = (kind.__doc__ or "").strip().partition("\n")[0]
        for name, field in kind.model_fields.items():
            inner = inner_options(field.annotation)
            if inner and get_origin(field.annotation) is not tuple:
                found["properties"][name] = _or_file(found["properties"][name], inner)
        return found


def _or_file(property_schema: JsonSchemaValue, kind: type[Options]) -> JsonSchemaValue:
    """`property_schema`, or the name or path of a file of `kind`."""
    outside = {key: value for key, value in property_schema.items() if key in _OUTSIDE}
    own = {key: value for key, value in property_schema.items() if key not in _OUTSIDE}
    names = shipped_names(kind.shipped)
    files: list[JsonSchemaValue] = [{"type": "string", "pattern": f"/|{_PATH}" if names else _PATH}]
    if names:
        files.insert(0, {"enum": list(names)})
    return {"anyOf": [*(own["anyOf"] if set(own) == {"anyOf"} else [own]), *files], **outside}
