-- move_resume_point
-- The upload's own counts follow the partitions', some seconds behind.
with moved as (
    update annals.imports set resume_point = case when (resume_point ->> 'row')::bigint <= $4 then $3 else resume_point end, attempts = 0
     where upload_id = $1 and holder = $2
    returning 1
), counts as (
    select sum(rows_accepted)::bigint as accepted, sum(rows_rejected)::bigint as rejected, sum(rows_duplicate)::bigint as duplicate,
           sum(rows_updated)::bigint as updated, sum(rows_rounded)::bigint as rounded, sum(rows_reported)::bigint as reported,
           sum(events_appended)::bigint as appended, sum(errors_found)::bigint as errors
      from annals.import_partitions where upload_id = $1
)
update annals.uploads u
   set position = greatest(u.position, $5), rows_total = c.accepted + c.rejected + c.duplicate + c.updated, rows_accepted = c.accepted,
       rows_rejected = c.rejected, rows_duplicate = c.duplicate, rows_updated = c.updated, rows_rounded = c.rounded,
       rows_reported = c.reported, events_appended = c.appended, errors_found = c.errors
  from counts c
 where u.id = $1 and exists (select from moved)
returning 1
