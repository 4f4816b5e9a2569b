-- A module that comes late: a tenant may have registered its event types by itself long before, and then there are streams
-- that the module's tables know nothing of. annals.register_state_table (V7) raises their shape, so that the sweep has read models
-- rebuilt; here is the same for databases that had the module before.

-- Modules since V17, for whoever comes from before them: those whose table is empty although there are streams, in one look
-- along the heads.
do $$
declare
    module record;
    empty  text[] := '{}';
    is_empty boolean;
begin
    for module in select t.aggregate_type, t.table_name from annals.state_tables t where t.collection is null loop
        execute format('select not exists (select from public.%I)', module.table_name) into is_empty;
        if is_empty then
            empty := empty || module.aggregate_type;
        end if;
    end loop;
    perform annals.raise_shape(null, late.aggregate_type)
       from (select distinct h.aggregate_type from annals.heads h where h.aggregate_type = any (empty) and h.projected_version > 0) as late;
end
$$;

revoke execute on all functions in schema annals from public;
