do $$
begin
    if not exists (select from pg_roles where rolname = 'portrait_reader') then
        create role portrait_reader nologin;
    end if;
exception when insufficient_privilege or duplicate_object then
    raise notice 'role portrait_reader was not created: ask the server''s owner for it';
end $$;

do $$
begin
    if exists (select from pg_roles where rolname = 'portrait_reader') then
        grant usage on schema profile, ops to portrait_reader;
        grant select on all tables in schema profile, ops to portrait_reader;
        alter default privileges in schema profile grant select on tables to portrait_reader;
    end if;
end $$;
