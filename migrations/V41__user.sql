-- Module user: people with an account. Version 1.0 took expertise_domains as a text with commas or as a list. Version 1.1 takes lists only
-- and adds preferences. It is a minor version, because readers of 1.0 had to handle lists already.

create table public.users (
    like annals.state_row including all,
    email                 text,
    name                  text,
    expertise_domains     jsonb,
    user_preferences      jsonb,
    notification_settings jsonb,
    constraint users_expertise_domains check (jsonb_typeof(expertise_domains) = 'array'),
    constraint users_user_preferences check (jsonb_typeof(user_preferences) = 'object'),
    constraint users_notification_settings check (jsonb_typeof(notification_settings) = 'object')
);
comment on table public.users is
    'State of user streams, with the fields of version 1.1. It does not control who may log in; that is the identity provider''s.';
comment on column public.users.email is 'Email address.';
comment on column public.users.name is 'Full name.';
comment on column public.users.expertise_domains is 'Fields of expertise: an array of texts.';
comment on column public.users.user_preferences is 'Which notifications they want: an object of switches, e.g. weekly_digest.';
comment on column public.users.notification_settings is 'How they want to be notified: an object with frequency, channels and quiet_hours.';
select annals.register_state_table('public.users', 'user');

-- In updated events the fields are upcast under /changes/…, without defaults: a default would be a change that no caller made.
do $$
declare
    fields_1_0 constant jsonb :=
        '{"type": "object",
          "required": ["email"],
          "properties": {"user_id": {"type": "string", "minLength": 1, "maxLength": 128},
                         "email": {"type": "string", "format": "email"},
                         "name": {"type": "string", "minLength": 1},
                         "expertise_domains": {"type": ["string", "array"], "items": {"type": "string"}}}}';
    fields_1_1 constant jsonb := fields_1_0 || jsonb_build_object('properties', fields_1_0 -> 'properties' ||
        '{"expertise_domains": {"type": "array", "items": {"type": "string"}},
          "user_preferences": {"type": "object",
                               "properties": {"email_notifications": {"type": "boolean"},
                                              "push_notifications": {"type": "boolean"},
                                              "weekly_digest": {"type": "boolean"}}},
          "notification_settings": {"type": "object",
                                    "properties": {"frequency": {"type": "string", "pattern": "^[a-z][a-z_]*$"},
                                                   "channels": {"type": "array", "items": {"type": "string", "minLength": 1}},
                                                   "quiet_hours": {"type": "object",
                                                                   "required": ["enabled"],
                                                                   "properties": {"enabled": {"type": "boolean"}}}}}}');
    preferences constant jsonb := '{"email_notifications": true, "push_notifications": true, "weekly_digest": true}';
    settings    constant jsonb := '{"frequency": "immediate", "channels": ["email"], "quiet_hours": {"enabled": false}}';
begin
    perform annals.declare_entity('user', 'a user', fields_1_0,
        '{"user_id": "456", "email": "user@example.com", "expertise_domains": "ai,machine learning,nlp"}',
        '{"expertise_domains": {"old": "ai,machine learning,nlp", "new": "ai,robotics"}}');
    perform annals.declare_version('user.created', '1.1', fields_1_1,
        '{"user_id": "456", "email": "user@example.com", "expertise_domains": ["ai", "machine learning", "nlp"]}'
            || jsonb_build_object('user_preferences', preferences, 'notification_settings', settings),
        jsonb_build_array(
            '{"split": {"expertise_domains": ","}}'::jsonb,
            jsonb_build_object('default', jsonb_build_object('user_preferences', preferences, 'notification_settings', settings))));
    perform annals.declare_version('user.updated', '1.1', annals.changes_schema(fields_1_1),
        '{"changes": {"expertise_domains": {"old": ["ai", "machine learning", "nlp"], "new": ["ai", "robotics"]}}}',
        '[{"split": {"/changes/expertise_domains/old": ",", "/changes/expertise_domains/new": ","}}]');
end
$$;
select annals.declare_entity_inverses('user');
