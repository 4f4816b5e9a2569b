-- Module agent: decisions that AI agents propose and people answer, one stream per decision.
--
-- There is no created, updated or deleted: a decision is proposed, then approved or rejected, and generic CRUD answers 405. Effects name
-- every field that they set, so a proposal cannot contain its own approval.

create table public.agent_decisions (
    like annals.state_row including all,
    decision     text,
    rationale    text,
    confidence   numeric,
    subject_type text,
    subject_id   text,
    proposal     jsonb,
    status       text,
    answer       text,
    constraint agent_decisions_confidence check (confidence between 0 and 1),
    constraint agent_decisions_proposal check (jsonb_typeof(proposal) = 'object'),
    constraint agent_decisions_status check (status in ('proposed', 'approved', 'rejected'))
);
comment on table public.agent_decisions is 'State of agent streams: one proposed decision each. started_by is the agent.';
comment on column public.agent_decisions.decision is 'What the agent proposes to do.';
comment on column public.agent_decisions.rationale is 'Reason, in the agent''s words.';
comment on column public.agent_decisions.confidence is 'How sure the agent is, from 0 to 1.';
comment on column public.agent_decisions.subject_type is 'Aggregate type that the decision is about.';
comment on column public.agent_decisions.subject_id is 'Id of the aggregate that the decision is about.';
comment on column public.agent_decisions.proposal is 'The proposal in machine-readable form, e.g. the event to post once it is approved.';
comment on column public.agent_decisions.status is 'proposed, approved or rejected.';
comment on column public.agent_decisions.answer is 'Why it was approved or rejected.';
select annals.register_state_table('public.agent_decisions', 'agent');

select annals.declare_event_type(
    'agent.decision_proposed', '{"set": {"status": {"const": "proposed"}, "decision": "/decision", "rationale": "/rationale",
                                         "confidence": "/confidence", "subject_type": "/subject_type", "subject_id": "/subject_id",
                                         "proposal": "/proposal"}}',
    array['agent', 'staff', 'service'],
    'An AI agent proposed a decision for a person to answer.',
    '{"type": "object",
      "required": ["decision"],
      "properties": {"decision": {"type": "string", "minLength": 1},
                     "rationale": {"type": "string", "minLength": 1},
                     "confidence": {"type": "number", "minimum": 0, "maximum": 1},
                     "subject_type": {"type": "string", "minLength": 1, "maxLength": 50},
                     "subject_id": {"type": "string", "minLength": 1, "maxLength": 128},
                     "proposal": {"type": "object"}}}',
    '{"decision": "lower the price to match a competitor", "rationale": "The same pump is offered at 5499.00 elsewhere.",
      "confidence": 0.87, "subject_type": "product", "subject_id": "123e4567-e89b-12d3-a456-426614174000",
      "proposal": {"event_type": "product.price_changed", "data": {"old_price": 5999.00, "new_price": 5499.00, "reason": "competitor_match"}}}');

select annals.declare_event_type(
    'agent.decision_approved', '{"set": {"status": {"const": "approved"}, "answer": "/reason"}}', array['staff', 'service'],
    'A proposed decision was approved.',
    '{"type": "object",
      "minProperties": 1,
      "properties": {"approved_by": {"type": "string", "minLength": 1},
                     "reason": {"type": "string", "minLength": 1}}}',
    '{"reason": "margin still above 20 %"}',
    requires => 'existing');

select annals.declare_event_type(
    'agent.decision_rejected', '{"set": {"status": {"const": "rejected"}, "answer": "/reason"}}', array['staff', 'service'],
    'A proposed decision was rejected, with the reason.',
    '{"type": "object",
      "required": ["reason"],
      "properties": {"rejected_by": {"type": "string", "minLength": 1},
                     "reason": {"type": "string", "minLength": 1}}}',
    '{"reason": "the competitor''s offer ends this week"}',
    requires => 'existing');

-- No inverse: agent.decision_rejected, because no other type undoes a rejection.
select annals.declare_inverse('agent.decision_proposed', '{"event_type": "agent.decision_rejected", "data": {"reason": {"const": "proposed in error"}}}'),
       annals.declare_inverse('agent.decision_approved', '{"event_type": "agent.decision_rejected", "data": {"reason": {"const": "approved in error"}}}');
