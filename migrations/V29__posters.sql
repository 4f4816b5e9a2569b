-- Posters are a plain list. PostgreSQL's <@ looks into arrays of arrays as well, so one registered by SQL passed for a list of
-- roles, and no function, the projector included, could read the catalog any more.

update annals.event_types set posters = array(select unnest(posters)) where array_ndims(posters) > 1;
alter table annals.event_types add constraint event_types_posters_list check (coalesce(array_ndims(posters), 1) = 1);
