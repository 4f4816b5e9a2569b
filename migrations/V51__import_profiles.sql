-- Import profiles: how files with the same headers were read, remembered for the next one. One stream per dataset and header.
--
-- There is no created, updated or deleted: a profile is saved, each time that an upload confirms other fields.

-- No inverse: import_profile.saved says how files were read, and an upload with other fields saves it anew.
select annals.declare_event_type(
    'import_profile.saved', '{"set": {"dataset": "/dataset", "header": "/header", "options": "/options", "upload_id": "/upload_id"}}', array['staff', 'service'],
    'An upload was imported with these fields; files with the same header are proposed to be read so.',
    '{"type": "object",
      "required": ["dataset", "header", "options", "upload_id"],
      "properties": {"dataset": {"type": "string", "minLength": 1, "maxLength": 50},
                     "header": {"type": "array", "items": {"type": "string"}},
                     "options": {"type": "object"},
                     "upload_id": {"type": "string", "format": "uuid"}}}',
    '{"dataset": "sales", "header": ["Day", "Sum"], "options": {"mapping": {"sale_date": "Day", "amount": "Sum"}},
      "upload_id": "0198c0de-0000-7000-8000-000000000001"}',
    appended_by => 'import');
