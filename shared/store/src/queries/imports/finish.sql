-- finish_import
with counts as (
    select coalesce(sum(rows_accepted), 0)::bigint as accepted, coalesce(sum(rows_rejected), 0)::bigint as rejected,
           coalesce(sum(rows_duplicate), 0)::bigint as duplicate, coalesce(sum(rows_updated), 0)::bigint as updated,
           coalesce(sum(rows_rounded), 0)::bigint as rounded, coalesce(sum(rows_reported), 0)::bigint as reported,
           coalesce(sum(events_appended), 0)::bigint as appended, coalesce(sum(errors_found), 0)::bigint as errors
      from annals.import_partitions where upload_id = $1
), ended as (
    update annals.uploads u
       set status = $3, finished_at = clock_timestamp(), failure = $4,
           position = case when $3 = 'completed' then coalesce(i.size_bytes, u.position) else u.position end,
           rows_total = c.accepted + c.rejected + c.duplicate + c.updated, rows_accepted = c.accepted, rows_rejected = c.rejected,
           rows_duplicate = c.duplicate, rows_updated = c.updated, rows_rounded = c.rounded, rows_reported = least(c.reported, $5),
           events_appended = c.appended, errors_found = c.errors
      from annals.imports i, counts c
     where u.id = $1 and i.upload_id = u.id and i.holder = $2 and u.status in ('waiting', 'running')
    returning 1
), trimmed as (
    -- Each partition has kept as many rejected rows as the whole upload may.
    delete from annals.rejected_rows r
     where r.upload_id = $1 and exists (select from ended)
       and r."row" > (select k."row" from annals.rejected_rows k where k.upload_id = $1 order by k."row" offset greatest($5 - 1, 0) limit 1)
), released as (
    update annals.imports set holder = null, held_until = null where upload_id = $1 and exists (select from ended)
)
select exists (select from ended) or annals.refuse(409, 'import_taken_over', 'another worker has taken the import over')
