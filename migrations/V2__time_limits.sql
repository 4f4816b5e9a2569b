-- Time limits for requests, as settings of the login annals_api. They cost no statement per request, and they work behind a pooler, whose
-- connections log in as this role.
--
-- Lambda ends the HTTP functions after 15 to 29 seconds (`Timeout` in template.yaml). Without these limits PostgreSQL would then continue
-- with a statement whose result no process reads. It would also keep a transaction open that no process ends: its locks would keep all
-- others from a stream, and its appends would keep all readers across streams waiting. Transactions of the projector set the first limit to
-- 0 for themselves, because a rebuild, and a transaction that waits for one, can take longer.

-- The role belongs to the cluster. If two databases of the cluster are migrated at the same moment, one ALTER ROLE can fail and is tried
-- again.
do $$
declare
    setting text;
begin
    foreach setting in array array['statement_timeout = ''10s''', 'idle_in_transaction_session_timeout = ''30s'''] loop
        for try in 1..100 loop
            begin
                execute 'alter role annals_api set ' || setting;
                exit;
            exception when internal_error or unique_violation then
                -- "tuple concurrently updated" has no SQLSTATE of its own.
                if try = 100 then
                    raise;
                end if;
            end;
        end loop;
    end loop;
end
$$;
