"""What schemathesis checks here beyond its own checks."""

import schemathesis

# Codes of rules that a JSON Schema cannot say. A request that matches the schemas may be refused with one of them.
RULES = {
    "invalid_cursor", "contradictory_parameters", "missing_parameter", "time_in_future", "version_in_future",
    "unknown_event_type", "aggregate_type_mismatch", "unknown_version", "schema_violation", "user_is_not_actor",
    "not_storable", "batch_size", "idempotency_key_reused", "idempotency_key_repeated", "idempotency_keys_differ",
    "version_mismatch", "no_generic_edit", "no_inverse", "reason_required", "unknown_module",
    "invalid_event_type", "breaking_change", "effect_changed", "upcaster_hole", "upcaster_loop", "upcaster_misses_schema",
    "version_not_newer", "unknown_inverse", "reserved_type", "field_not_indexed",
    # The content of a file.
    "empty_file", "no_rows", "no_header", "duplicate_header", "missing_columns", "header_too_long", "too_many_columns",
    "record_too_long", "stray_quote", "unclosed_quote", "wrong_encoding", "not_csv", "nul_character", "unknown_sheet", "wrong_date_order",
    "options_uncertain",
}
# The same for faults of single fields: what their details contain.
FIELD_RULES = (
    # Ids and names (docs/guide/ids.md).
    "must be printable text", "printable characters", "must be in Unicode Normalization Form C", "must not begin or end with a space", "invisible ones",
    # Two fields, or a field in the body and in the query.
    "differs from",
    # Fields of uploads.
    "must be an ISO 4217 code", "must be a strftime pattern", "must be the IANA name", "must name an encoding", "may be given only once", "maps our columns", "is not a column of",
    "must be JSON", "must be a JSON array", "two columns of the file", "or an array of such conditions", "must be a header of the file",
)
REFUSALS = (400, 405, 412, 413, 415, 422)


def is_beyond_schemas(fault: dict) -> bool:
    return fault["code"] in RULES or any(rule in fault["detail"] for rule in FIELD_RULES)


@schemathesis.check
def valid_requests_are_refused_only_by_rules_beyond_schemas(ctx, response, case) -> None:
    """The document says exactly which requests are well-formed."""
    is_described = case.method.lower() in case.operation.schema.raw_schema["paths"].get(case.path, {})
    is_valid = case.meta is not None and case.meta.generation.mode.is_positive
    if response.status_code not in REFUSALS or not is_described or not is_valid:
        return
    problem = response.json()
    faults = problem.get("errors", [problem])
    if problem["code"] in RULES or all(map(is_beyond_schemas, faults)):
        return
    raise AssertionError(f"a request that matches the document was refused: {response.text}")
