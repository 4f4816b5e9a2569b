-- Module opportunity: opportunities for AI solutions, found by agents and people. Its source renamed one field and added two, so its events
-- are at version 2.0. Events of version 1.0 are stored as they were posted and read as 2.0.

create table public.opportunities (
    like annals.state_row including all,
    title                text,
    description          text,
    industry             text,
    ai_solution_type     text,
    ai_solution_category text,
    market_size_estimate numeric,
    confidence_score     numeric,
    status               text,
    constraint opportunities_market_size_estimate check (market_size_estimate >= 0),
    constraint opportunities_confidence_score check (confidence_score between 0 and 1)
);
comment on table public.opportunities is 'State of opportunity streams, with the fields of version 2.0.';
comment on column public.opportunities.title is 'Its title.';
comment on column public.opportunities.description is 'Its description.';
comment on column public.opportunities.industry is 'Industry that it was found in, as given.';
comment on column public.opportunities.ai_solution_type is 'Short name of the kind of solution, as given, e.g. nlp.';
comment on column public.opportunities.ai_solution_category is 'Category of the solution, e.g. natural_language_processing.';
comment on column public.opportunities.market_size_estimate is 'Estimated size of the market, as given. Called market_size in version 1.0.';
comment on column public.opportunities.confidence_score is 'How sure the finder is, from 0 to 1; 0.7 for events of version 1.0, which did not have it.';
comment on column public.opportunities.status is 'Status, one lower-case word.';
select annals.register_state_table('public.opportunities', 'opportunity');

-- Every caller may create one. In updated events the fields are upcast under /changes/…, without defaults: a default would be a change that
-- no caller made.
do $$
declare
    fields_1 constant jsonb :=
        '{"type": "object",
          "required": ["title"],
          "properties": {"opportunity_id": {"type": "string", "minLength": 1, "maxLength": 128},
                         "title": {"type": "string", "minLength": 1},
                         "description": {"type": "string"},
                         "industry": {"type": "string", "minLength": 1},
                         "ai_solution_type": {"type": "string", "minLength": 1},
                         "market_size": {"type": "number", "minimum": 0},
                         "status": {"type": "string", "pattern": "^[a-z][a-z_]*$"}}}';
    -- The field of version 1.0 is refused by name: otherwise it would be stored and have no meaning.
    fields_2 constant jsonb := fields_1 || jsonb_build_object('properties', fields_1 -> 'properties' ||
        '{"market_size": false,
          "market_size_estimate": {"type": "number", "minimum": 0},
          "ai_solution_category": {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"},
          "confidence_score": {"type": "number", "minimum": 0, "maximum": 1}}');
    category constant jsonb :=
        '{"otherwise": "other",
          "values": {"nlp": "natural_language_processing", "NLP": "natural_language_processing",
                     "natural_language_processing": "natural_language_processing",
                     "ml": "machine_learning", "ML": "machine_learning", "machine_learning": "machine_learning",
                     "cv": "computer_vision", "CV": "computer_vision", "computer_vision": "computer_vision",
                     "speech": "speech_processing", "speech_recognition": "speech_processing",
                     "generative": "generative_ai", "generative_ai": "generative_ai", "llm": "generative_ai", "LLM": "generative_ai",
                     "recommendation": "recommendation_systems", "recommendation_systems": "recommendation_systems",
                     "prediction": "predictive_analytics", "predictive_analytics": "predictive_analytics",
                     "automation": "process_automation", "process_automation": "process_automation",
                     "robotics": "robotics"}}';
begin
    perform annals.declare_entity('opportunity', 'an opportunity', fields_1,
        '{"opportunity_id": "123", "title": "AI Chatbot", "ai_solution_type": "nlp", "market_size": 1000000}',
        '{"market_size": {"old": 1000000, "new": 1250000}, "ai_solution_type": {"old": "nlp", "new": "generative"}}',
        creators => array['user', 'agent', 'staff', 'service'], starter_sees => true);
    perform annals.declare_version('opportunity.created', '2.0', fields_2,
        '{"opportunity_id": "123", "title": "AI Chatbot", "ai_solution_type": "nlp", "market_size_estimate": 1000000,
          "ai_solution_category": "natural_language_processing", "confidence_score": 0.7}',
        jsonb_build_array(
            '{"rename": {"market_size": "market_size_estimate"}}'::jsonb,
            jsonb_build_object('map', category || '{"from": "ai_solution_type", "to": "ai_solution_category"}'),
            '{"default": {"confidence_score": 0.7}}'::jsonb));
    perform annals.declare_version('opportunity.updated', '2.0', annals.changes_schema(fields_2),
        '{"changes": {"market_size_estimate": {"old": 1000000, "new": 1250000}, "confidence_score": {"old": 0.7, "new": 0.85}}}',
        jsonb_build_array(
            '{"rename": {"/changes/market_size": "/changes/market_size_estimate"}}'::jsonb,
            jsonb_build_object('map', category || '{"from": "/changes/ai_solution_type/old", "to": "/changes/ai_solution_category/old"}'),
            jsonb_build_object('map', category || '{"from": "/changes/ai_solution_type/new", "to": "/changes/ai_solution_category/new"}')));
end
$$;
select annals.declare_entity_inverses('opportunity');
