-- How long a request may keep the database. The limits belong to the login, so that they cost no request anything and hold behind a
-- pooler, whose connections log in by it.
--
-- Lambda ends a function after 15 seconds, and its caller gets an error before that. PostgreSQL would go on: with a statement whose
-- result no process reads, or with a transaction that no process ends, whose locks keep all others from a stream and whose appends
-- keep every reader across streams waiting. The projector's transactions lift the first
-- limit for themselves: a rebuild's take their time, and those that wait for it have to.

-- The login is the cluster's: where another of its databases is migrated at the same moment, one of the two has to look again.
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
                -- "tuple concurrently updated", which has no code of its own.
                if try = 100 then
                    raise;
                end if;
            end;
        end loop;
    end loop;
end
$$;
