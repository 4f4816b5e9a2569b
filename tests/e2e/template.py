"""The deployed template with its intrinsic functions resolved, for any parameters."""

import re

NO_VALUE = object()


class Template:
    """The transformed template as CloudFormation evaluates it. References to resources stay unresolved."""

    def __init__(self, processed: dict):
        self.processed = processed

    def properties(self, resource: str, **parameters: str) -> dict:
        """A resource's properties with these parameters, and defaults for the others."""
        defaults = {name: str(given.get("Default", "")) for name, given in self.processed["Parameters"].items()}
        unknown = parameters.keys() - defaults.keys()
        if unknown:
            raise KeyError(f"no parameters {unknown}")
        return self._resolved(self.processed["Resources"][resource]["Properties"], {**defaults, **parameters})

    def _resolved(self, value: object, parameters: dict) -> object:
        if isinstance(value, list):
            items = [self._resolved(item, parameters) for item in value]
            return [item for item in items if item is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (function, argument), = value.items()
            if function == "Ref":
                return NO_VALUE if argument == "AWS::NoValue" else parameters.get(argument, value)
            if function == "Fn::If":
                condition, yes, no = argument
                return self._resolved(yes if self._holds(condition, parameters) else no, parameters)
            if function == "Fn::Sub" and isinstance(argument, str):
                return re.sub(r"\$\{(\w+)\}", lambda found: parameters.get(found[1], found[0]), argument)
        resolved = {key: self._resolved(item, parameters) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item is not NO_VALUE}

    def _holds(self, condition: object, parameters: dict) -> bool:
        if isinstance(condition, str):
            return self._holds(self.processed["Conditions"][condition], parameters)
        (function, argument), = condition.items()
        if function == "Condition":
            return self._holds(argument, parameters)
        if function == "Fn::Equals":
            left, right = (self._text(side, parameters) for side in argument)
            return left == right
        if function == "Fn::Not":
            return not self._holds(argument[0], parameters)
        raise ValueError(f"a condition with {function}")

    def _text(self, value: object, parameters: dict) -> str:
        if isinstance(value, dict) and "Fn::Join" in value:
            separator, items = value["Fn::Join"]
            items = self._resolved(items, parameters)
            return items if isinstance(items, str) else separator.join(items)
        return str(self._resolved(value, parameters))
