-- How long a request may keep the database. The limits belong to the login, so that they cost no request anything and hold behind a
-- pooler, whose connections log in by it.
--
-- A function is ended after 15 seconds and its caller has long been told so by then, but PostgreSQL would go on: with a
-- statement that nobody waits for, or with a transaction that nobody will end, whose locks keep a stream from
-- everybody and whose xid keeps every reader across streams from going on. The projector's transactions lift the first
-- limit for themselves: a rebuild's take their time, and those that wait for it have to.

alter role annals_api set statement_timeout = '10s';
alter role annals_api set idle_in_transaction_session_timeout = '30s';
