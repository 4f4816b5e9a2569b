-- The whole schema, as the migrations make it. This file is generated, for reading; nothing runs it. This command writes it anew:
--
--     cargo run -p tests --bin schema -- write
--
-- A test fails if it differs from what the migrations make. Objects are listed under the migration that creates them, in the order of
-- creation; triggers, policies and rights are listed below their table. The comment above an object or a column is its `comment on` text.
-- The owner's rights are left out, and no function may be executed by PUBLIC. Rows that migrations insert are not listed; the event types
-- are in public.event_types.

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- before the first migration
-- -----------------------------------------------------------------------------------------------------------------------------------------

create table annals_locks.migrations ();

-- Migrations that were applied, with their checksums.
create table annals.schema_history (
    -- Number of the migration.
    version integer not null,
    -- What its file is called after the number.
    name character varying(255),
    -- When it was applied, RFC 3339.
    applied_on character varying(255),
    -- Of its text: one that was applied is never edited.
    checksum character varying(255),
    constraint schema_history_pkey PRIMARY KEY (version)
);
alter table annals.schema_history enable row level security;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- roles
-- -----------------------------------------------------------------------------------------------------------------------------------------

create role annals_api login noinherit;
grant annals_projector to annals_api;
grant authenticated to annals_api;
alter role annals_api set idle_in_transaction_session_timeout=30s;
alter role annals_api set statement_timeout=10s;

create role annals_projector nologin noinherit;

create role anon nologin noinherit;

create role authenticated nologin noinherit;

-- Internal tables and functions: events, heads, catalog, progress. Clients use schema public.
create schema annals;
grant usage on schema annals to annals_api, annals_projector, authenticated;

-- Tables that appends, readers, projectors, rebuilds, key figures, imports and migrations lock. Requests have no access.
create schema annals_locks;
grant usage on schema annals_locks to annals_projector;

-- The current request's token, as Supabase names it.
create schema auth;
grant usage on schema auth to annals_projector, anon, authenticated;

-- standard public schema
create schema public;
grant usage on schema public to annals_projector, authenticated;

-- The verified claims of the current request, or null.
create function auth.jwt()
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $function$;
grant execute on function auth.jwt() to annals_projector, anon, authenticated;

-- The subject of the current request's token, or null.
create function auth.uid()
 RETURNS uuid
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$ select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $function$;
grant execute on function auth.uid() to annals_projector, anon, authenticated;

-- The database role that the current request's token asks for, or null.
create function auth.role()
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role' $function$;
grant execute on function auth.role() to annals_projector, anon, authenticated;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- callers
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- Claims of the current request's token; null outside a request.
create function annals.caller_claims()
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    return nullif(current_setting('request.jwt.claims', true), '')::jsonb;
end
$function$;
grant execute on function annals.caller_claims() to authenticated;

-- Role of the caller: user, staff, agent or service; user if the token has no such claim; null outside a request.
create function annals.caller_role()
 RETURNS text
 LANGUAGE plpgsql
 STABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    claims jsonb := nullif(current_setting('request.jwt.claims', true), '')::jsonb;
begin
    return case when claims is not null then coalesce(claims #>> '{app_metadata,role}', 'user') end;
end
$function$;
grant execute on function annals.caller_role() to authenticated;

-- Tenant of the current request; the nil uuid is the default tenant; null outside a request.
create function annals.caller_tenant()
 RETURNS uuid
 LANGUAGE plpgsql
 STABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    claims jsonb := nullif(current_setting('request.jwt.claims', true), '')::jsonb;
begin
    return case when claims is not null
                then coalesce((claims #>> '{app_metadata,tenant_id}')::uuid, '00000000-0000-0000-0000-000000000000') end;
end
$function$;
grant execute on function annals.caller_tenant() to authenticated;

-- Actor of the current request's token, as in events.created_by; null outside a request.
create function annals.caller_actor()
 RETURNS text
 LANGUAGE plpgsql
 STABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    claims jsonb := nullif(current_setting('request.jwt.claims', true), '')::jsonb;
begin
    return case coalesce(claims #>> '{app_metadata,role}', 'user')
               when 'user' then 'user:' || (claims ->> 'sub')::uuid
               when 'staff' then 'user:' || (claims ->> 'sub')::uuid
               when 'agent' then 'agent:' || (claims #>> '{app_metadata,name}')
               when 'service' then 'service:' || (claims #>> '{app_metadata,name}')
           end;
end
$function$;
grant execute on function annals.caller_actor() to authenticated;

-- The person behind the current request; null for agents and services.
create function annals.caller_user_id()
 RETURNS uuid
 LANGUAGE plpgsql
 STABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    claims jsonb := nullif(current_setting('request.jwt.claims', true), '')::jsonb;
begin
    return case when coalesce(claims #>> '{app_metadata,role}', 'user') in ('user', 'staff') then (claims ->> 'sub')::uuid end;
end
$function$;
grant execute on function annals.caller_user_id() to authenticated;

-- Whether the caller reads the whole tenant, or only what is its own.
create function annals.caller_sees_tenant()
 RETURNS boolean
 LANGUAGE plpgsql
 STABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    claims jsonb := nullif(current_setting('request.jwt.claims', true), '')::jsonb;
begin
    return coalesce(claims #>> '{app_metadata,role}' in ('staff', 'service'), false);
end
$function$;
grant execute on function annals.caller_sees_tenant() to authenticated;

-- Raises a refusal. It returns boolean only so that an expression can call it.
create function annals.refuse(status integer, code text, message text, member integer DEFAULT NULL::integer, detail text DEFAULT NULL::text)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    raise exception using
        errcode = 'PT' || status, constraint = code, message = message, column = coalesce(member::text, ''), detail = coalesce(detail, '');
end
$function$;
grant execute on function annals.refuse(integer,text,text,integer,text) to annals_projector, authenticated;

-- The caller that a verified token's claims name: role, tenant, actor as in events.created_by, and user id. Refuses with 401 if the claims
-- name no caller.
create function annals.caller_of(claims jsonb, OUT role text, OUT tenant uuid, OUT actor text, OUT person uuid)
 RETURNS record
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    app jsonb := claims -> 'app_metadata';
begin
    role := coalesce(app ->> 'role', 'user');
    tenant := coalesce((app ->> 'tenant_id')::uuid, '00000000-0000-0000-0000-000000000000');
    case role
        when 'user', 'staff' then
            person := (claims ->> 'sub')::uuid;
            actor := 'user:' || person;
        when 'agent', 'service' then
            actor := role || ':' || (app ->> 'name');
        else null;
    end case;
    if actor is null then
        perform annals.refuse(401, 'caller_unknown', 'the request has no claims that identify a caller');
    end if;
end
$function$;

-- Why the text may not be an id or a name, as the rest of a sentence; null if it may.
create function annals.text_fault(value text, longest integer)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    code            int;
    before          int := 0;
    ends_emoji      boolean := false;
    is_emoji        boolean;
    is_text_emoji   boolean := false;
    allowed         boolean;
begin
    if value is null then
        return null;
    elsif value = '' then
        return 'must not be empty';
    elsif length(value) > longest then
        return format('must have at most %s characters', longest);
    elsif value like ' %' or value like '% ' then
        return 'must not begin or end with a space';
    elsif value !~ '[^\u0020-\u007E]' then
        return null;
    end if;
    -- One step more than there are characters, because a joiner at the end is an error. The tables are literals in the expressions, so
    -- they are parsed once per session and not once per call.
    for place in 1..length(value) + 1 loop
        code := ascii(substr(value, place, 1));
        -- Emoji that a zero-width joiner (U+200D) may join.
        is_emoji := code <@ '{[169,169],[174,174],[8252,8252],[8265,8265],[8482,8482],[8505,8505],[8596,8601],[8617,8618],[8986,8987],[9000,9000],[9167,9167],
        [9193,9203],[9208,9210],[9410,9410],[9642,9643],[9654,9654],[9664,9664],[9723,9726],[9728,9732],[9742,9742],[9745,9745],[9748,9749],
        [9752,9752],[9757,9757],[9760,9760],[9762,9763],[9766,9766],[9770,9770],[9774,9775],[9784,9786],[9792,9792],[9794,9794],[9800,9811],
        [9823,9824],[9827,9827],[9829,9830],[9832,9832],[9851,9851],[9854,9855],[9874,9879],[9881,9881],[9883,9884],[9888,9889],[9895,9895],
        [9898,9899],[9904,9905],[9917,9918],[9924,9925],[9928,9928],[9934,9935],[9937,9937],[9939,9940],[9961,9962],[9968,9973],[9975,9978],
        [9981,9981],[9986,9986],[9989,9989],[9992,9997],[9999,9999],[10002,10002],[10004,10004],[10006,10006],[10013,10013],[10017,10017],
        [10024,10024],[10035,10036],[10052,10052],[10055,10055],[10060,10060],[10062,10062],[10067,10069],[10071,10071],[10083,10084],
        [10133,10135],[10145,10145],[10160,10160],[10175,10175],[10548,10549],[11013,11015],[11035,11036],[11088,11088],[11093,11093],
        [12336,12336],[12349,12349],[12951,12951],[12953,12953],[126980,126980],[127183,127183],[127344,127345],[127358,127359],
        [127374,127374],[127377,127386],[127489,127490],[127514,127514],[127535,127535],[127538,127546],[127568,127569],[127744,127777],
        [127780,127891],[127894,127895],[127897,127899],[127902,127984],[127987,127989],[127991,127994],[128000,128253],[128255,128317],
        [128329,128334],[128336,128359],[128367,128368],[128371,128378],[128391,128391],[128394,128397],[128400,128400],[128405,128406],
        [128420,128421],[128424,128424],[128433,128434],[128444,128444],[128450,128452],[128465,128467],[128476,128478],[128481,128481],
        [128483,128483],[128488,128488],[128495,128495],[128499,128499],[128506,128591],[128640,128709],[128715,128722],[128725,128729],
        [128732,128741],[128745,128745],[128747,128748],[128752,128752],[128755,128764],[128992,129003],[129008,129008],[129292,129338],
        [129340,129349],[129351,129535],[129648,129660],[129664,129734],[129736,129736],[129740,129757],[129759,129771],[129775,129786]}'::int4multirange;
        if (before = 8205 and not is_emoji) or (before = 65039 and not ends_emoji and code <> 8419) then
            code := before;
            allowed := false;
        else
            -- A digit, # or * followed by U+FE0F and U+20E3 is a keycap. Invisible characters are refused.
            allowed := case code
                when 8205 then ends_emoji
                when 65039 then is_text_emoji or before between 48 and 57 or before in (35, 42)
                when 0 then true
                else not code <@ '{[1,31],[127,160],[173,173],[847,847],[888,889],[896,899],[907,907],[909,909],[930,930],[1328,1328],[1367,1367],[1424,1424],
        [1482,1487],[1515,1518],[1525,1541],[1564,1564],[1757,1757],[1806,1807],[1867,1868],[1970,1983],[2043,2044],[2094,2095],[2111,2111],
        [2140,2141],[2143,2143],[2155,2159],[2192,2198],[2274,2274],[2436,2436],[2445,2446],[2449,2450],[2473,2473],[2481,2481],[2483,2485],
        [2490,2491],[2501,2502],[2505,2506],[2511,2518],[2520,2523],[2526,2526],[2532,2533],[2559,2560],[2564,2564],[2571,2574],[2577,2578],
        [2601,2601],[2609,2609],[2612,2612],[2615,2615],[2618,2619],[2621,2621],[2627,2630],[2633,2634],[2638,2640],[2642,2648],[2653,2653],
        [2655,2661],[2679,2688],[2692,2692],[2702,2702],[2706,2706],[2729,2729],[2737,2737],[2740,2740],[2746,2747],[2758,2758],[2762,2762],
        [2766,2767],[2769,2783],[2788,2789],[2802,2808],[2816,2816],[2820,2820],[2829,2830],[2833,2834],[2857,2857],[2865,2865],[2868,2868],
        [2874,2875],[2885,2886],[2889,2890],[2894,2898],[2904,2907],[2910,2910],[2916,2917],[2936,2945],[2948,2948],[2955,2957],[2961,2961],
        [2966,2968],[2971,2971],[2973,2973],[2976,2978],[2981,2983],[2987,2989],[3002,3005],[3011,3013],[3017,3017],[3022,3023],[3025,3030],
        [3032,3045],[3067,3071],[3085,3085],[3089,3089],[3113,3113],[3130,3131],[3141,3141],[3145,3145],[3150,3156],[3159,3159],[3163,3163],
        [3166,3167],[3172,3173],[3184,3190],[3213,3213],[3217,3217],[3241,3241],[3252,3252],[3258,3259],[3269,3269],[3273,3273],[3278,3284],
        [3287,3291],[3295,3295],[3300,3301],[3312,3312],[3316,3327],[3341,3341],[3345,3345],[3397,3397],[3401,3401],[3408,3411],[3428,3429],
        [3456,3456],[3460,3460],[3479,3481],[3506,3506],[3516,3516],[3518,3519],[3527,3529],[3531,3534],[3541,3541],[3543,3543],[3552,3557],
        [3568,3569],[3573,3584],[3643,3646],[3676,3712],[3715,3715],[3717,3717],[3723,3723],[3748,3748],[3750,3750],[3774,3775],[3781,3781],
        [3783,3783],[3791,3791],[3802,3803],[3808,3839],[3912,3912],[3949,3952],[3992,3992],[4029,4029],[4045,4045],[4059,4095],[4294,4294],
        [4296,4300],[4302,4303],[4447,4448],[4681,4681],[4686,4687],[4695,4695],[4697,4697],[4702,4703],[4745,4745],[4750,4751],[4785,4785],
        [4790,4791],[4799,4799],[4801,4801],[4806,4807],[4823,4823],[4881,4881],[4886,4887],[4955,4956],[4989,4991],[5018,5023],[5110,5111],
        [5118,5119],[5760,5760],[5789,5791],[5881,5887],[5910,5918],[5943,5951],[5972,5983],[5997,5997],[6001,6001],[6004,6015],[6068,6069],
        [6110,6111],[6122,6127],[6138,6143],[6155,6159],[6170,6175],[6265,6271],[6315,6319],[6390,6399],[6431,6431],[6444,6447],[6460,6463],
        [6465,6467],[6510,6511],[6517,6527],[6572,6575],[6602,6607],[6619,6621],[6684,6685],[6751,6751],[6781,6782],[6794,6799],[6810,6815],
        [6830,6831],[6897,6911],[6989,6989],[7156,7163],[7224,7226],[7242,7244],[7307,7311],[7355,7356],[7368,7375],[7419,7423],[7958,7959],
        [7966,7967],[8006,8007],[8014,8015],[8024,8024],[8026,8026],[8028,8028],[8030,8030],[8062,8063],[8117,8117],[8133,8133],[8148,8149],
        [8156,8156],[8176,8177],[8181,8181],[8191,8207],[8232,8239],[8287,8303],[8306,8307],[8389,8399],[8433,8447],[8588,8591],[9258,9279],
        [9291,9311],[10240,10240],[11124,11125],[11508,11512],[11558,11558],[11560,11564],[11566,11567],[11624,11630],[11633,11646],
        [11671,11679],[11687,11687],[11695,11695],[11703,11703],[11711,11711],[11719,11719],[11727,11727],[11735,11735],[11743,11743],
        [11870,11871],[11876,11903],[11930,11930],[12020,12031],[12246,12271],[12288,12288],[12352,12352],[12439,12440],[12544,12548],
        [12592,12592],[12644,12644],[12687,12687],[12774,12782],[12831,12831],[42125,42127],[42183,42191],[42540,42559],[42744,42751],
        [42974,42977],[42979,42992],[43053,43055],[43066,43071],[43128,43135],[43206,43213],[43226,43231],[43348,43358],[43389,43391],
        [43470,43470],[43482,43485],[43519,43519],[43575,43583],[43598,43599],[43610,43611],[43715,43738],[43767,43776],[43783,43784],
        [43791,43792],[43799,43807],[43815,43815],[43823,43823],[43886,43887],[44014,44015],[44026,44031],[55204,55215],[55239,55242],
        [55292,55295],[57344,63743],[64110,64111],[64218,64255],[64263,64274],[64280,64284],[64311,64311],[64317,64317],[64319,64319],
        [64322,64322],[64325,64325],[64976,65007],[65024,65039],[65050,65055],[65107,65107],[65127,65127],[65132,65135],[65141,65141],
        [65277,65280],[65440,65440],[65471,65473],[65480,65481],[65488,65489],[65496,65497],[65501,65503],[65511,65511],[65519,65531],
        [65534,65535],[65548,65548],[65575,65575],[65595,65595],[65598,65598],[65614,65615],[65630,65663],[65787,65791],[65795,65798],
        [65844,65846],[65935,65935],[65949,65951],[65953,65999],[66046,66175],[66205,66207],[66257,66271],[66300,66303],[66340,66348],
        [66379,66383],[66427,66431],[66462,66462],[66500,66503],[66518,66559],[66718,66719],[66730,66735],[66772,66775],[66812,66815],
        [66856,66863],[66916,66926],[66939,66939],[66955,66955],[66963,66963],[66966,66966],[66978,66978],[66994,66994],[67002,67002],
        [67005,67007],[67060,67071],[67383,67391],[67414,67423],[67432,67455],[67462,67462],[67505,67505],[67520,67583],[67590,67591],
        [67593,67593],[67638,67638],[67641,67643],[67645,67646],[67670,67670],[67743,67750],[67760,67807],[67827,67827],[67830,67834],
        [67868,67870],[67898,67902],[67930,67967],[68024,68027],[68048,68049],[68100,68100],[68103,68107],[68116,68116],[68120,68120],
        [68150,68151],[68155,68158],[68169,68175],[68185,68191],[68256,68287],[68327,68330],[68343,68351],[68406,68408],[68438,68439],
        [68467,68471],[68498,68504],[68509,68520],[68528,68607],[68681,68735],[68787,68799],[68851,68857],[68904,68911],[68922,68927],
        [68966,68968],[68998,69005],[69008,69215],[69247,69247],[69290,69290],[69294,69295],[69298,69313],[69320,69320],[69359,69359],
        [69416,69423],[69466,69487],[69514,69551],[69580,69599],[69623,69631],[69710,69713],[69750,69758],[69821,69821],[69827,69839],
        [69865,69871],[69882,69887],[69941,69941],[69960,69967],[70007,70015],[70112,70112],[70133,70143],[70162,70162],[70210,70271],
        [70279,70279],[70281,70281],[70286,70286],[70302,70302],[70314,70319],[70379,70383],[70394,70399],[70404,70404],[70413,70414],
        [70417,70418],[70441,70441],[70449,70449],[70452,70452],[70458,70458],[70469,70470],[70473,70474],[70478,70479],[70481,70486],
        [70488,70492],[70500,70501],[70509,70511],[70517,70527],[70538,70538],[70540,70541],[70543,70543],[70582,70582],[70593,70593],
        [70595,70596],[70598,70598],[70603,70603],[70614,70614],[70617,70624],[70627,70655],[70748,70748],[70754,70783],[70856,70863],
        [70874,71039],[71094,71095],[71134,71167],[71237,71247],[71258,71263],[71277,71295],[71354,71359],[71370,71375],[71396,71423],
        [71451,71452],[71468,71471],[71495,71679],[71740,71839],[71923,71934],[71943,71944],[71946,71947],[71956,71956],[71959,71959],
        [71990,71990],[71993,71994],[72007,72015],[72026,72095],[72104,72105],[72152,72153],[72165,72191],[72264,72271],[72355,72367],
        [72441,72447],[72459,72543],[72552,72639],[72674,72687],[72698,72703],[72713,72713],[72759,72759],[72774,72783],[72813,72815],
        [72848,72849],[72872,72872],[72887,72959],[72967,72967],[72970,72970],[73015,73017],[73019,73019],[73022,73022],[73032,73039],
        [73050,73055],[73062,73062],[73065,73065],[73103,73103],[73106,73106],[73113,73119],[73130,73135],[73180,73183],[73194,73199],
        [73202,73439],[73465,73471],[73489,73489],[73531,73533],[73563,73647],[73649,73663],[73714,73726],[74650,74751],[75076,75087],
        [75399,77711],[77811,77823],[78896,78911],[78934,78943],[82939,82943],[83527,90367],[90426,92159],[92729,92735],[92767,92767],
        [92778,92781],[92863,92863],[92874,92879],[92910,92911],[92918,92927],[92998,93007],[93018,93018],[93026,93026],[93048,93052],
        [93072,93503],[93562,93759],[93851,93855],[93881,93882],[93908,93951],[94027,94030],[94088,94094],[94112,94175],[94181,94191],
        [94199,94207],[101595,101630],[101665,101759],[101875,101887],[102802,102815],[102867,110575],[110580,110580],[110588,110588],
        [110591,110591],[110889,110897],[110899,110927],[110931,110932],[110934,110947],[110953,110959],[111356,113663],[113771,113775],
        [113789,113791],[113801,113807],[113818,113819],[113824,117759],[118013,118015],[118452,118457],[118481,118481],[118485,118492],
        [118526,118527],[118574,118575],[118599,118607],[118724,118783],[119030,119039],[119155,119162],[119366,119375],[119426,119487],
        [119508,119519],[119540,119551],[119639,119647],[119673,119807],[119893,119893],[119965,119965],[119968,119969],[119971,119972],
        [119975,119976],[119981,119981],[119994,119994],[119996,119996],[120004,120004],[120070,120070],[120075,120076],[120085,120085],
        [120093,120093],[120122,120122],[120127,120127],[120133,120133],[120135,120137],[120145,120145],[120487,120487],[120780,120781],
        [121484,121498],[121504,121504],[121520,121599],[121629,122623],[122754,122767],[122775,122828],[122887,122887],[122905,122906],
        [122914,122914],[122917,122917],[122923,122927],[122990,123022],[123024,123135],[123181,123183],[123198,123199],[123210,123213],
        [123216,123535],[123567,123583],[123642,123646],[123648,124111],[124154,124367],[124411,124414],[124416,124607],[124639,124639],
        [124662,124669],[124672,124895],[124903,124903],[124908,124908],[124911,124911],[124927,124927],[125125,125126],[125143,125183],
        [125260,125263],[125274,125277],[125280,126064],[126133,126208],[126270,126463],[126468,126468],[126496,126496],[126499,126499],
        [126501,126502],[126504,126504],[126515,126515],[126520,126520],[126522,126522],[126524,126529],[126531,126534],[126536,126536],
        [126538,126538],[126540,126540],[126544,126544],[126547,126547],[126549,126550],[126552,126552],[126554,126554],[126556,126556],
        [126558,126558],[126560,126560],[126563,126563],[126565,126566],[126571,126571],[126579,126579],[126584,126584],[126589,126589],
        [126591,126591],[126602,126602],[126620,126624],[126628,126628],[126634,126634],[126652,126703],[126706,126975],[127020,127023],
        [127124,127135],[127151,127152],[127168,127168],[127184,127184],[127222,127231],[127407,127461],[127491,127503],[127548,127551],
        [127561,127567],[127570,127583],[127590,127743],[128730,128731],[128749,128751],[128765,128767],[128988,128991],[129004,129007],
        [129036,129039],[129096,129103],[129114,129119],[129160,129167],[129198,129199],[129212,129215],[129218,129231],[129241,129279],
        [129624,129631],[129646,129647],[129661,129663],[129735,129735],[129737,129739],[129758,129758],[129772,129774],[129787,129791],
        [129939,129939],[130043,131071],[173792,173823],[178207,178207],[183982,183983],[191457,191471],[192094,194559],[195102,196607],
        [201547,201551],[210042,249855],[261184,1114111]}'::int4multirange end;
        end if;
        if not allowed then
            return format('must be printable text: the character U+%s is invisible, unassigned or for private use',
                          case when code < 65536 then lpad(upper(to_hex(code)), 4, '0') else upper(to_hex(code)) end);
        end if;
        ends_emoji := is_emoji or (code = 65039 and is_text_emoji) or code between 127995 and 127999;
        -- Emoji that are shown as text unless U+FE0F follows.
        is_text_emoji := code <@ '{[169,169],[174,174],[8252,8252],[8265,8265],[8482,8482],[8505,8505],[8596,8601],[8617,8618],[9000,9000],[9167,9167],[9197,9199],
        [9201,9202],[9208,9210],[9410,9410],[9642,9643],[9654,9654],[9664,9664],[9723,9724],[9728,9732],[9742,9742],[9745,9745],[9752,9752],
        [9757,9757],[9760,9760],[9762,9763],[9766,9766],[9770,9770],[9774,9775],[9784,9786],[9792,9792],[9794,9794],[9823,9824],[9827,9827],
        [9829,9830],[9832,9832],[9851,9851],[9854,9854],[9874,9874],[9876,9879],[9881,9881],[9883,9884],[9888,9888],[9895,9895],[9904,9905],
        [9928,9928],[9935,9935],[9937,9937],[9939,9939],[9961,9961],[9968,9969],[9972,9972],[9975,9977],[9986,9986],[9992,9993],[9996,9997],
        [9999,9999],[10002,10002],[10004,10004],[10006,10006],[10013,10013],[10017,10017],[10035,10036],[10052,10052],[10055,10055],
        [10083,10084],[10145,10145],[10548,10549],[11013,11015],[12336,12336],[12349,12349],[12951,12951],[12953,12953],[127344,127345],
        [127358,127359],[127490,127490],[127543,127543],[127777,127777],[127780,127788],[127798,127798],[127869,127869],[127894,127895],
        [127897,127899],[127902,127903],[127947,127950],[127956,127967],[127987,127987],[127989,127989],[127991,127991],[128063,128063],
        [128065,128065],[128253,128253],[128329,128330],[128367,128368],[128371,128377],[128391,128391],[128394,128397],[128400,128400],
        [128421,128421],[128424,128424],[128433,128434],[128444,128444],[128450,128452],[128465,128467],[128476,128478],[128481,128481],
        [128483,128483],[128488,128488],[128495,128495],[128499,128499],[128506,128506],[128715,128715],[128717,128719],[128736,128741],
        [128745,128745],[128752,128752],[128755,128755]}'::int4multirange;
        before := code;
    end loop;
    return case when value is not nfc normalized then 'must be in Unicode Normalization Form C (NFC)' end;
end
$function$;

-- Why the text is not the name of an actor, as the rest of a sentence; null if it is.
create function annals.actor_fault(value text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select case
               when value is null or value = 'system' then null
               -- A uuid in capitals or without hyphens would be a second name for the same person.
               when value ~* '^user:(urn:uuid:)?[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$'
                    and value !~ '^user:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
               then 'must be user: and a uuid in lower case with hyphens, as in user:7d0c54a6-6f4c-4f5e-9f0e-0c8f1b1a2c3d'
               when value !~ '^(user|agent|service):.' or regexp_replace(value, '^[a-z]+:', '') ~ '[\u0001-\u0020!"#$%&''()*,;<=>?[\\\]^`{|}~\u007F]'
               then 'must be user:, agent: or service: and a name without spaces, or system'
               else annals.text_fault(value, 100) end
$function$;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- catalog
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- Whether the JSON is an effect, as described at annals.event_types.effect.
create function annals.is_effect(effect jsonb)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select case jsonb_typeof(effect)
               when 'string' then effect #>> '{}' in ('create', 'merge', 'changes', 'delete', 'none')
               when 'object' then (
                   select count(*) = 1 and bool_and(case
                              when m.key in ('add_child', 'update_child', 'remove_child') then jsonb_typeof(m.value) = 'string'
                              when m.key = 'set' and jsonb_typeof(m.value) = 'object' then not exists (
                                  select from jsonb_each(m.value) as f
                                   where not case jsonb_typeof(f.value) when 'string' then f.value #>> '{}' ~ '^(/|$)'
                                                                        when 'object' then f.value ? 'const'
                                                                        else false end)
                              else false end)
                     from jsonb_each(effect) as m)
               else false end
$function$;

-- Whether the functions in Rust can parse the JSON: at most 100 levels, and no key that serde_json reserves for itself.
create function annals.is_readable(document jsonb)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select not jsonb_path_exists(document, '$.**{100}')
       and not jsonb_path_exists(document, '$.** ? (exists(@."$serde_json::private::Number") || exists(@."$serde_json::private::RawValue"))')
$function$;

-- Whether the JSON is an inverse, as described at annals.event_types.inverse.
create function annals.is_inverse(inverse jsonb)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select inverse is null
        or (jsonb_typeof(inverse) = 'object' and jsonb_typeof(inverse -> 'event_type') = 'string'
            and inverse - array['event_type', 'data'] = '{}'
            and (not inverse ? 'data' or annals.is_effect(jsonb_build_object('set', inverse -> 'data'))))
$function$;

-- Every event type that can be posted, with its effect on state and who may post it.
create table annals.event_types (
    -- Tenant that registered the type; null: built in, for every tenant.
    tenant_id uuid,
    -- {aggregate_type}.{action}, e.g. organization.gst.added.
    event_type text collate "C" not null,
    -- Aggregate type of the stream that contains the event.
    aggregate_type text collate "C" not null,
    -- Schema version given to an event that names none.
    current_version text collate "C" not null,
    -- One human-readable sentence.
    description text not null,
    -- How the event changes state: "create", "merge", "changes", "delete", "none", {"add_child": collection}, {"update_child": collection},
    -- {"remove_child": collection} or {"set": {field: JSON pointer into data | {"const": value}}}.
    effect jsonb not null,
    -- How an event of the type is compensated: {"event_type": type of the compensating event, "data": {field: JSON pointer into the event's
    -- data | {"const": value}}}. Without data, the compensating data follow from the effects of both types and the state before the event.
    -- With data: a member that the inverse writes to a field that the event changed takes the value that the field had before the event. If
    -- the field had no value before, a member that points at what the event wrote there keeps that value. A constant is written as it is.
    -- The compensation is refused if a field had a value before the event and would get neither that value nor a constant. Null: events of
    -- the type cannot be compensated.
    inverse jsonb,
    -- Roles that may post it: user, agent, staff, service.
    posters text[] not null,
    -- Requirement on the stream: existing (it has events), new (it has none); null: none.
    requires text,
    -- Part of Annals (sweep, processing, import) that alone appends the type, for callers whose role is in posters; null: callers post it
    -- themselves.
    appended_by text,
    -- Whether the actor who started a stream sees events of this type that others append to it. Copied to each event.
    starter_sees boolean not null default false,
    -- Actor that registered the type; system: a migration.
    created_by text not null,
    -- When it was registered.
    created_at timestamp with time zone not null default clock_timestamp(),
    constraint event_types_name CHECK (((event_type ~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$'::text) AND (length(event_type) <= 100))),
    constraint event_types_aggregate CHECK (((aggregate_type = split_part(event_type, '.'::text, 1)) AND (length(aggregate_type) <= 50))),
    constraint event_types_posters CHECK ((posters <@ ARRAY['user'::text, 'agent'::text, 'staff'::text, 'service'::text])),
    constraint event_types_posters_list CHECK ((COALESCE(array_ndims(posters), 1) = 1)),
    constraint event_types_requires CHECK ((requires = ANY (ARRAY['new'::text, 'existing'::text]))),
    constraint event_types_closed CHECK (((appended_by IS NULL) OR (tenant_id IS NULL))),
    constraint event_types_effect CHECK ((annals.is_effect(effect) AND annals.is_readable(effect))),
    constraint event_types_inverse CHECK ((annals.is_inverse(inverse) AND annals.is_readable(inverse))),
    constraint event_types_key UNIQUE NULLS NOT DISTINCT (event_type, tenant_id)
);
CREATE TRIGGER event_types_revision AFTER INSERT OR DELETE OR UPDATE ON annals.event_types FOR EACH STATEMENT EXECUTE FUNCTION annals.raise_catalog_revision();
alter table annals.event_types enable row level security;
create policy event_types_read on annals.event_types for select to authenticated using (((tenant_id IS NULL) OR (tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant))));
create policy event_types_project on annals.event_types for select to annals_projector using (true);
grant select on annals.event_types to annals_projector, authenticated;

-- Schema and example of every version of every event type. Versions are added, never changed.
create table annals.event_type_versions (
    -- Tenant that registered the version; null: built in.
    tenant_id uuid,
    -- The type, as in annals.event_types.
    event_type text collate "C" not null,
    -- Semantic version, by custom without a patch part: 1.0.
    version text collate "C" not null,
    -- JSON Schema (2020-12) of the event's data.
    schema jsonb not null,
    -- Data that the schema accepts.
    example jsonb not null,
    -- Actor that registered the version.
    created_by text not null,
    -- When it was registered.
    created_at timestamp with time zone not null default clock_timestamp(),
    constraint event_type_versions_version CHECK ((version ~ '^[0-9]{1,4}\.[0-9]{1,4}(\.[0-9]{1,4})?$'::text)),
    constraint event_type_versions_schema CHECK (((jsonb_typeof(schema) = 'object'::text) AND annals.is_readable(schema))),
    constraint event_type_versions_example CHECK (((jsonb_typeof(example) = 'object'::text) AND annals.is_readable(example))),
    constraint event_type_versions_key UNIQUE NULLS NOT DISTINCT (event_type, version, tenant_id)
);
CREATE TRIGGER event_type_versions_revision AFTER INSERT OR DELETE OR UPDATE ON annals.event_type_versions FOR EACH STATEMENT EXECUTE FUNCTION annals.raise_catalog_revision();
CREATE TRIGGER event_type_versions_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON annals.event_type_versions FOR EACH STATEMENT EXECUTE FUNCTION annals.refuse_change();
alter table annals.event_type_versions enable always trigger event_type_versions_append_only;
CREATE TRIGGER event_type_versions_rows_append_only BEFORE DELETE OR UPDATE ON annals.event_type_versions FOR EACH ROW EXECUTE FUNCTION annals.refuse_change();
alter table annals.event_type_versions enable always trigger event_type_versions_rows_append_only;
alter table annals.event_type_versions enable row level security;
create policy event_type_versions_read on annals.event_type_versions for select to authenticated using (((tenant_id IS NULL) OR (tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant))));
create policy event_type_versions_project on annals.event_type_versions for select to annals_projector using (true);
grant select on annals.event_type_versions to annals_projector, authenticated;

-- One row: the number of changes to the catalog so far.
create table annals.catalog_revision (
    -- Always true, so there is only one row.
    only_row boolean not null default true,
    -- Raised by every change to annals.event_types, its versions, upcasters and state tables, and by a finished rebuild.
    revision bigint not null,
    constraint catalog_revision_only_row CHECK (only_row),
    constraint catalog_revision_pkey PRIMARY KEY (only_row)
);
alter table annals.catalog_revision enable row level security;
create policy catalog_revision_read on annals.catalog_revision for select to annals_projector, authenticated using (true);
grant select on annals.catalog_revision to annals_projector, authenticated;

-- Trigger: raises the revision of the catalog.
create function annals.raise_catalog_revision()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    update annals.catalog_revision set revision = revision + 1;
    return null;
end
$function$;

-- Trigger of append-only tables: refuses the statement for every role. Only the owner can disable the trigger.
create function annals.refuse_change()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    raise exception '% on %.% is refused: it is append-only', lower(tg_op), tg_table_schema, tg_table_name
        using errcode = 'insufficient_privilege', constraint = tg_name;
end
$function$;

-- Makes a table refuse the given ones of update, delete and truncate.
create function annals.make_append_only(table_name regclass, VARIADIC refused text[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    bare_name constant name := (select c.relname from pg_class c where c.oid = table_name);
    of_rows   constant text := array_to_string(array_remove(refused, 'truncate'), ' or ');
begin
    execute format('create trigger %I before %s on %s for each statement execute function annals.refuse_change()',
                   bare_name || '_append_only', array_to_string(refused, ' or '), table_name);
    execute format('create trigger %I before %s on %s for each row execute function annals.refuse_change()',
                   bare_name || '_rows_append_only', of_rows, table_name);
    execute format('alter table %1$s enable always trigger %2$I, enable always trigger %3$I',
                   table_name, bare_name || '_append_only', bare_name || '_rows_append_only');
end
$function$;

-- The schema of a built-in type with this effect. If the effect stores every field of data, fields that the schema does not list are
-- refused, unless the schema has an additionalProperties of its own.
create function annals.closed_schema(effect jsonb, schema jsonb)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select case when effect in ('"create"', '"merge"') or effect ?| array['add_child', 'update_child']
                then '{"additionalProperties": false}'::jsonb || schema else schema end
$function$;

-- For migrations: declares a built-in event type at its first version. The schema is closed as annals.closed_schema describes.
create function annals.declare_event_type(event_type text, effect jsonb, posters text[], description text, schema jsonb, example jsonb, version text DEFAULT '1.0'::text, requires text DEFAULT NULL::text, starter_sees boolean DEFAULT false, appended_by text DEFAULT NULL::text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    insert into annals.event_types (event_type, aggregate_type, current_version, description, effect, posters, requires, starter_sees, appended_by, created_by)
    values (declare_event_type.event_type, split_part(declare_event_type.event_type, '.', 1), declare_event_type.version,
            declare_event_type.description, declare_event_type.effect, declare_event_type.posters, declare_event_type.requires,
            declare_event_type.starter_sees, declare_event_type.appended_by, 'system');
    insert into annals.event_type_versions (event_type, version, schema, example, created_by)
    values (declare_event_type.event_type, declare_event_type.version, annals.closed_schema(effect, schema), declare_event_type.example, 'system');
end
$function$;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- evolution
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- A version as an array of numbers, by which versions are ordered: 1.10 comes after 1.9.
create function annals.version_key(version text)
 RETURNS integer[]
 LANGUAGE sql
 IMMUTABLE STRICT
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select string_to_array(version, '.')::int[]
$function$;
grant execute on function annals.version_key(text) to annals_projector, authenticated;

-- Whether the text names a field of data, as described at annals.upcasters.steps.
create function annals.is_place(field text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select field <> '' and length(field) <= 1000 and strpos(field, '$serde_json::private::') = 0
       and (left(field, 1) <> '/' or length(field) - length(replace(field, '/', '')) <= 16)
$function$;

-- Whether the JSON is a list of steps, as described at annals.upcasters.steps.
create function annals.is_upcast(steps jsonb)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select case when jsonb_typeof(steps) <> 'array' or jsonb_array_length(steps) > 100 or octet_length(steps::text) > 65536 then false else (
        select coalesce(bool_and(case when jsonb_typeof(s.step) <> 'object' then false else (
                   select count(*) = 1 and bool_and(case
                              when m.key in ('rename', 'split') and jsonb_typeof(m.value) = 'object'
                              then not exists (select from jsonb_each(m.value) as f
                                                where jsonb_typeof(f.value) <> 'string' or f.value = '""' or not annals.is_place(f.key)
                                                   or (m.key = 'rename' and not annals.is_place(f.value #>> '{}')))
                              when m.key in ('default', 'set') and jsonb_typeof(m.value) = 'object'
                              then not exists (select from jsonb_object_keys(m.value) as f where not annals.is_place(f))
                              when m.key = 'remove' and jsonb_typeof(m.value) = 'array'
                              then not exists (select from jsonb_array_elements(m.value) as f
                                                where jsonb_typeof(f) <> 'string' or not annals.is_place(f #>> '{}'))
                              when m.key = 'map' and jsonb_typeof(m.value) = 'object'
                              then m.value ?& array['from', 'to', 'values'] and m.value - array['from', 'to', 'values', 'otherwise'] = '{}'
                                   and jsonb_typeof(m.value -> 'from') = 'string' and annals.is_place(m.value ->> 'from')
                                   and jsonb_typeof(m.value -> 'to') = 'string' and annals.is_place(m.value ->> 'to')
                                   and jsonb_typeof(m.value -> 'values') = 'object'
                              else false end)
                     from jsonb_each(s.step) as m) end), true)
          from jsonb_array_elements(steps) as s (step)) end
$function$;

-- How data of an old version of an event type become data of a later version. Added, never changed.
create table annals.upcasters (
    -- Tenant that registered it; null: built in. A tenant's own upcaster takes precedence over the built-in one.
    tenant_id uuid,
    -- The type, as in annals.event_types.
    event_type text collate "C" not null,
    -- Version that it upcasts from.
    from_version text collate "C" not null,
    -- Version that it upcasts to, a later one.
    to_version text collate "C" not null,
    -- Steps in order, each one of {"rename": {field: field}}, {"default": {field: value where there is none}}, {"map": {"from": field,
    -- "to": field, "values": {text: value}, "otherwise": value}}, {"split": {field: separator}}, {"set": {field: value}}, {"remove":
    -- [field]}. A field is a name, or a JSON pointer where it begins with a slash. Empty: data stay as they are.
    steps jsonb not null,
    -- Actor that registered it; system: a migration.
    created_by text not null,
    -- When it was registered.
    created_at timestamp with time zone not null default clock_timestamp(),
    constraint upcasters_forward CHECK ((annals.version_key(from_version) < annals.version_key(to_version))),
    constraint upcasters_steps CHECK ((annals.is_upcast(steps) AND annals.is_readable(steps))),
    constraint upcasters_key UNIQUE NULLS NOT DISTINCT (event_type, from_version, tenant_id)
);
CREATE TRIGGER upcasters_revision AFTER INSERT OR DELETE OR UPDATE ON annals.upcasters FOR EACH STATEMENT EXECUTE FUNCTION annals.raise_catalog_revision();
CREATE TRIGGER upcasters_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON annals.upcasters FOR EACH STATEMENT EXECUTE FUNCTION annals.refuse_change();
alter table annals.upcasters enable always trigger upcasters_append_only;
CREATE TRIGGER upcasters_rows_append_only BEFORE DELETE OR UPDATE ON annals.upcasters FOR EACH ROW EXECUTE FUNCTION annals.refuse_change();
alter table annals.upcasters enable always trigger upcasters_rows_append_only;
alter table annals.upcasters enable row level security;
create policy upcasters_read on annals.upcasters for select to authenticated using (((tenant_id IS NULL) OR (tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant))));
create policy upcasters_project on annals.upcasters for select to annals_projector using (true);
grant select on annals.upcasters to annals_projector, authenticated;

-- Fold versions: how many times registrations have changed the state that stored events of an aggregate type fold to. No row: never.
create table annals.fold_versions (
    -- Tenant whose registrations are counted; null: built-in ones, for every tenant.
    tenant_id uuid,
    -- The number of such changes.
    fold_version bigint not null,
    -- Value of fold_version that read models have been rebuilt for. If it is lower than fold_version, they must be rebuilt.
    rebuilt_version bigint not null default 0,
    -- Aggregate type.
    aggregate_type text collate "C" not null,
    constraint fold_versions_rebuilt CHECK (((rebuilt_version >= 0) AND (rebuilt_version <= fold_version))),
    constraint fold_versions_key UNIQUE NULLS NOT DISTINCT (aggregate_type, tenant_id)
);
alter table annals.fold_versions enable row level security;
create policy fold_versions_read on annals.fold_versions for select to authenticated using (((tenant_id IS NULL) OR (tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant))));
create policy fold_versions_project on annals.fold_versions for all to annals_projector using (true) with check (true);
grant select on annals.fold_versions to annals_projector, authenticated;
grant update (rebuilt_version) on annals.fold_versions to annals_projector;

-- Raises the fold version: stored events of these aggregates fold to another state from now on.
create function annals.raise_fold_version(tenant uuid, aggregate_type text)
 RETURNS void
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    insert into annals.fold_versions as s (tenant_id, aggregate_type, fold_version) values (tenant, raise_fold_version.aggregate_type, 1)
    on conflict on constraint fold_versions_key do update set fold_version = s.fold_version + 1
$function$;

-- The current fold version of a tenant's aggregates of a type: changes of built-in event types and of the tenant's own added. It only
-- rises.
create function annals.fold_version_of(tenant uuid, aggregate_type text)
 RETURNS bigint
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select coalesce(sum(s.fold_version), 0)::bigint from annals.fold_versions s
     where s.aggregate_type = fold_version_of.aggregate_type and (s.tenant_id is null or s.tenant_id = tenant)
$function$;
grant execute on function annals.fold_version_of(uuid,text) to annals_projector, authenticated;

-- Whether read models of a tenant's aggregates must be rebuilt, because they may hold states of an older fold version.
create function annals.needs_rebuild(tenant uuid, aggregate_type text)
 RETURNS boolean
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    return exists (select from annals.fold_versions s
                    where s.aggregate_type = needs_rebuild.aggregate_type and (s.tenant_id is null or s.tenant_id = tenant)
                      and s.rebuilt_version < s.fold_version);
end
$function$;
grant execute on function annals.needs_rebuild(uuid,text) to annals_projector, authenticated;

-- Refuses unless upcasters lead from every version to this one. A tenant's own upcasters take precedence over built-in ones.
create function annals.refuse_broken_chain(tenant uuid, event_type text, current_version text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    stranded text;
begin
    with recursive versions as (
        select distinct v.version from annals.event_type_versions v
         where v.event_type = refuse_broken_chain.event_type and (v.tenant_id is null or v.tenant_id = tenant)
    ), hops as (
        select distinct on (u.from_version) u.from_version, u.to_version from annals.upcasters u
         where u.event_type = refuse_broken_chain.event_type and (u.tenant_id is null or u.tenant_id = tenant)
         order by u.from_version, u.tenant_id nulls last
    ), arriving (version) as (
        select refuse_broken_chain.current_version
        union
        select h.from_version from arriving a join hops h on h.to_version = a.version
    )
    select string_agg(v.version, ', ' order by annals.version_key(v.version)) into stranded
      from versions v
     where v.version not in (select a.version from arriving a);
    if stranded is not null then
        perform annals.refuse(422, 'upcaster_hole', format('no upcasters lead from version %s of %s to version %s: add them', stranded, event_type, current_version));
    end if;
end
$function$;

-- Declares the next version of a built-in event type, with the steps that upcast data of the version before.
create function annals.declare_version(event_type text, version text, schema jsonb, example jsonb, steps jsonb)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    kind record;
begin
    select t.aggregate_type, t.current_version, t.effect into strict kind
      from annals.event_types t where t.event_type = declare_version.event_type and t.tenant_id is null;
    insert into annals.event_type_versions (event_type, version, schema, example, created_by)
    values (declare_version.event_type, declare_version.version, annals.closed_schema(kind.effect, schema), declare_version.example, 'system');
    insert into annals.upcasters (event_type, from_version, to_version, steps, created_by)
    values (declare_version.event_type, kind.current_version, declare_version.version, declare_version.steps, 'system');
    update annals.event_types t set current_version = declare_version.version
     where t.event_type = declare_version.event_type and t.tenant_id is null;
    if steps <> '[]' and exists (select from annals.heads h where h.aggregate_type = kind.aggregate_type) then
        perform annals.raise_fold_version(null, kind.aggregate_type);
    end if;
end
$function$;

-- Declares how events of a built-in type are compensated, as described at annals.event_types.inverse.
create function annals.declare_inverse(event_type text, inverse jsonb)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    update annals.event_types t set inverse = declare_inverse.inverse
     where t.event_type = declare_inverse.event_type and t.tenant_id is null;
    if not found or not exists (
        select from annals.event_types t where t.event_type = declare_inverse.inverse ->> 'event_type' and t.tenant_id is null
    ) then
        raise exception 'no such built-in event type: % or %', event_type, inverse ->> 'event_type' using errcode = 'no_data_found';
    end if;
end
$function$;

-- Registers a type, or a newer version of one, for the tenant of the staff member that the claims name. Other tenants are not affected.
-- based_on: the version that the caller believes to be the current one; null: not checked. requires: new, existing or nothing.
create function annals.register_event_type(claims jsonb, event_type text, aggregate_type text, version text, description text, effect jsonb, posters text[], schema jsonb, example jsonb, inverse jsonb DEFAULT NULL::jsonb, upcasters jsonb DEFAULT '[]'::jsonb, based_on text DEFAULT NULL::text, requires text DEFAULT NULL::text, starter_sees boolean DEFAULT NULL::boolean)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    role   text;
    tenant uuid;
    actor  text;
    known  record;
begin
    select c.role, c.tenant, c.actor into role, tenant, actor from annals.caller_of(claims) c;
    if role <> 'staff' then
        perform annals.refuse(403, 'staff_only', 'only staff may register event types');
    end if;
    -- The whole aggregate type is reserved: another event type of it could still add events to these streams.
    if exists (select from annals.event_types t where t.aggregate_type = register_event_type.aggregate_type and t.appended_by is not null) then
        perform annals.refuse(422, 'reserved_type', format('only Annals itself appends events of aggregate type %s; register the event type for another aggregate type', aggregate_type));
    end if;
    -- One registration at a time, because the checks below read all versions of the type.
    perform from annals.catalog_revision for update;
    select t.aggregate_type, t.current_version, t.effect, t.requires, t.starter_sees into known
      from annals.event_types t
     where t.event_type = register_event_type.event_type and (t.tenant_id = tenant or t.tenant_id is null)
     order by t.tenant_id nulls last
     limit 1;
    if known.aggregate_type <> register_event_type.aggregate_type then
        perform annals.refuse(422, 'aggregate_type_mismatch', format('%s belongs to aggregate type %s: register it with that aggregate_type', event_type, known.aggregate_type));
    elsif known.effect <> register_event_type.effect then
        -- With another effect, stored events would fold to another state than the one that is projected.
        perform annals.refuse(422, 'effect_changed', format('the effect of %s cannot change: register another event type', event_type));
    elsif exists (
        select from annals.event_type_versions v
         where v.event_type = register_event_type.event_type and v.version = register_event_type.version
           and (v.tenant_id is null or v.tenant_id = tenant)
    ) then
        perform annals.refuse(409, 'version_exists', format('%s already has a version %s: register a higher one', event_type, version));
    elsif known.current_version <> based_on then
        perform annals.refuse(409, 'version_conflict', format('%s is at version %s, no longer at %s: somebody else registered a version; read the type and try again', event_type, known.current_version, based_on));
    elsif annals.version_key(version) <= annals.version_key(known.current_version) then
        perform annals.refuse(422, 'version_not_newer', format('%s is already at version %s: register a higher one', event_type, known.current_version));
    end if;
    insert into annals.event_types as t (
        tenant_id, event_type, aggregate_type, current_version, description, effect, posters, inverse, requires, starter_sees, created_by)
    values (tenant, register_event_type.event_type, register_event_type.aggregate_type, register_event_type.version,
            register_event_type.description, register_event_type.effect, register_event_type.posters, register_event_type.inverse,
            nullif(coalesce(register_event_type.requires, known.requires), 'nothing'),
            coalesce(register_event_type.starter_sees, known.starter_sees, false), actor)
    on conflict on constraint event_types_key do update
        set current_version = excluded.current_version, description = excluded.description, effect = excluded.effect,
            posters = excluded.posters, inverse = excluded.inverse, requires = excluded.requires, starter_sees = excluded.starter_sees,
            created_by = excluded.created_by;
    insert into annals.event_type_versions (tenant_id, event_type, version, schema, example, created_by)
    values (tenant, register_event_type.event_type, register_event_type.version, register_event_type.schema, register_event_type.example, actor);
    perform annals.register_upcasters(tenant, actor, event_type, upcasters, known.current_version, version);
    if inverse is not null and not exists (
        select from annals.event_types t
         where t.event_type = register_event_type.inverse ->> 'event_type' and (t.tenant_id = tenant or t.tenant_id is null)
           and t.aggregate_type = register_event_type.aggregate_type
    ) then
        perform annals.refuse(422, 'unknown_inverse', format('the inverse names %s, which is not an event type of the same aggregate type: register it first', inverse ->> 'event_type'));
    end if;
end
$function$;
grant execute on function annals.register_event_type(jsonb,text,text,text,text,jsonb,text[],jsonb,jsonb,jsonb,jsonb,text,text,boolean) to annals_api;

-- Adds the upcasters of a new version. Refuses unless upcasters then lead from every version to it.
create function annals.register_upcasters(tenant uuid, actor text, event_type text, upcasters jsonb, previous_version text, version text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    added record;
begin
    for added in
        select u ->> 'from_version' as from_version, u ->> 'to_version' as to_version, u -> 'steps' as steps
          from jsonb_array_elements(upcasters) as u
    loop
        if not exists (select from annals.event_type_versions v
                        where v.event_type = register_upcasters.event_type and v.version = added.from_version
                          and (v.tenant_id is null or v.tenant_id = tenant)) then
            perform annals.refuse(422, 'unknown_version', format('an upcaster starts from version %s, which %s does not have', added.from_version, event_type));
        elsif not exists (select from annals.event_type_versions v
                           where v.event_type = register_upcasters.event_type and v.version = added.to_version
                             and (v.tenant_id is null or v.tenant_id = tenant)) then
            perform annals.refuse(422, 'unknown_version', format('an upcaster leads to version %s, which %s does not have', added.to_version, event_type));
        elsif annals.version_key(added.from_version) >= annals.version_key(added.to_version) then
            perform annals.refuse(422, 'upcaster_loop', format('an upcaster must lead to a later version, and %s is not later than %s', added.to_version, added.from_version));
        elsif exists (select from annals.upcasters u where u.event_type = register_upcasters.event_type
                                                       and u.from_version = added.from_version and u.tenant_id = tenant) then
            perform annals.refuse(409, 'upcaster_exists', format('%s already has an upcaster from version %s', event_type, added.from_version));
        end if;
        insert into annals.upcasters (tenant_id, event_type, from_version, to_version, steps, created_by)
        values (tenant, register_upcasters.event_type, added.from_version, added.to_version, added.steps, actor);
    end loop;
    -- If no upcaster leads from the previous version and the major number is the same, data of the previous version are read unchanged.
    if split_part(previous_version, '.', 1) = split_part(version, '.', 1) then
        insert into annals.upcasters (tenant_id, event_type, from_version, to_version, steps, created_by)
        select tenant, register_upcasters.event_type, previous_version, register_upcasters.version, '[]', actor
         where not exists (select from annals.upcasters u
                            where u.event_type = register_upcasters.event_type and u.from_version = previous_version
                              and (u.tenant_id is null or u.tenant_id = tenant));
    end if;
    perform annals.refuse_broken_chain(tenant, event_type, version);
    if exists (select from jsonb_array_elements(upcasters) as u where u -> 'steps' <> '[]') then
        perform annals.raise_fold_version(tenant, split_part(event_type, '.', 1));
    end if;
end
$function$;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- log
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- The log: all events in order. Triggers refuse every change of them.
create table annals.events (
    -- Position over all streams: rising, with gaps. It is drawn after the stream is locked, so it rises within each stream.
    event_number bigint not null,
    -- Recorded time, by the database; strictly rising within a stream.
    created_at timestamp with time zone not null,
    -- Business time: when it happened, as the client says; by default created_at.
    "timestamp" timestamp with time zone not null,
    -- UUID v7, chosen by the server before the append, so that it can find its event if the connection breaks before the answer arrives.
    id uuid not null,
    -- Tenant, from the token.
    tenant_id uuid not null,
    -- The person, if there is one.
    user_id uuid,
    -- Id of the event that caused this one.
    causation_id uuid,
    -- Position in its stream: 1, 2, 3 … without gaps.
    aggregate_version integer not null,
    -- Value of the type's starter_sees when the event was appended, copied here so that policies need no second table.
    starter_sees boolean not null default false,
    -- Name in the catalog: {aggregate_type}.{action}.
    event_type text collate "C" not null,
    -- Aggregate type of the stream.
    aggregate_type text collate "C" not null,
    -- Id of the aggregate: a uuid or other printable text.
    aggregate_id text collate "C" not null,
    -- Version of the schema that data follows.
    version text collate "C" not null,
    -- Actor: user:…, agent:…, service:… or system.
    created_by text collate "C" not null,
    -- Actor of the token. It differs from created_by if a service names another actor.
    posted_by text collate "C" not null,
    -- Actor of the stream's first event, copied here so that policies need no second table.
    started_by text collate "C" not null,
    -- Where it came from, as the client says; api by default.
    source text collate "C" not null,
    -- Groups the events of one flow.
    correlation_id text collate "C",
    -- Id of the command that led to the event.
    command_id text collate "C",
    -- The client's key, unique per tenant and posted_by.
    idempotency_key text collate "C",
    -- What happened, as the schema of the type's version describes it.
    data jsonb not null,
    -- Context as the client sent it: a reason and whatever the client adds. Not evidence: see recorded. Empty if annals.withheld_context
    -- has it. An event with the member migration_applied is refused, because HTTP reads add it to upcast events.
    metadata jsonb not null,
    -- What the server observed: ip_address, user_agent and request_id over HTTP, posted_by always. No caller can write it. Empty if
    -- annals.withheld_context has it.
    recorded jsonb not null default '{}'::jsonb,
    constraint events_pkey PRIMARY KEY (event_number),
    constraint events_id_key UNIQUE (tenant_id, id),
    constraint events_stream_version_key UNIQUE (tenant_id, aggregate_id, aggregate_type, aggregate_version)
);
CREATE UNIQUE INDEX events_idempotency_key ON annals.events USING btree (tenant_id, posted_by, idempotency_key) WHERE (idempotency_key IS NOT NULL);
CREATE INDEX events_by_type ON annals.events USING btree (tenant_id, event_type, event_number);
CREATE INDEX events_by_actor ON annals.events USING btree (tenant_id, created_by, event_number);
CREATE INDEX events_by_user ON annals.events USING btree (tenant_id, user_id, event_number) WHERE ((created_by !~~ 'user:%'::text) AND (user_id IS NOT NULL));
CREATE INDEX events_by_starter ON annals.events USING btree (tenant_id, started_by, event_number) WHERE (starter_sees AND (started_by <> created_by));
CREATE INDEX events_hidden_from_starter ON annals.events USING btree (tenant_id, aggregate_type, aggregate_id) WHERE ((NOT starter_sees) AND (started_by <> created_by));
CREATE INDEX events_by_correlation ON annals.events USING btree (tenant_id, correlation_id, event_number) WHERE (correlation_id IS NOT NULL);
CREATE INDEX events_by_causation ON annals.events USING btree (tenant_id, causation_id, event_number) WHERE (causation_id IS NOT NULL);
CREATE INDEX events_by_command ON annals.events USING btree (tenant_id, command_id, event_number) WHERE (command_id IS NOT NULL);
CREATE INDEX events_by_source ON annals.events USING btree (tenant_id, source, event_number) WHERE (source <> 'api'::text);
CREATE INDEX events_by_number ON annals.events USING btree (tenant_id, event_number);
CREATE INDEX events_by_time ON annals.events USING brin (created_at);
CREATE TRIGGER events_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON annals.events FOR EACH STATEMENT EXECUTE FUNCTION annals.refuse_change();
alter table annals.events enable always trigger events_append_only;
CREATE TRIGGER events_rows_append_only BEFORE DELETE OR UPDATE ON annals.events FOR EACH ROW EXECUTE FUNCTION annals.refuse_change();
alter table annals.events enable always trigger events_rows_append_only;
alter table annals.events enable row level security;
create policy events_read on annals.events for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR (created_by = ( SELECT annals.caller_actor() AS caller_actor)) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND starter_sees AND (started_by <> created_by)) OR ((user_id = ( SELECT annals.caller_user_id() AS caller_user_id)) AND (created_by !~~ 'user:%'::text)))));
create policy events_project on annals.events for select to annals_projector using (true);
grant select on annals.events to annals_projector, authenticated;

-- Source of events.event_number.
create sequence annals.event_numbers as bigint;

-- An append locks it ROW EXCLUSIVE before it draws a number, until its transaction ends. Readers across streams check which transactions
-- hold this lock (annals.high_water_mark).
create table annals_locks.appends ();

-- One row per stream, its lock and its outbox: version > projected_version means that events are not projected yet. Neither column is
-- indexed, so updates stay on their page (HOT).
create table annals.heads (
    -- Tenant of the stream.
    tenant_id uuid not null,
    -- Recorded time of the last event.
    last_created_at timestamp with time zone not null,
    -- Version of the last event.
    version integer not null,
    -- Version up to which read models contain the stream.
    projected_version integer not null default 0,
    -- Aggregate type of the stream.
    aggregate_type text collate "C" not null,
    -- Id of the aggregate.
    aggregate_id text collate "C" not null,
    -- Actor of the first event.
    started_by text collate "C" not null,
    constraint heads_pkey PRIMARY KEY (tenant_id, aggregate_type, aggregate_id)
) with (fillfactor=80);
CREATE TRIGGER heads_append_only BEFORE DELETE OR TRUNCATE ON annals.heads FOR EACH STATEMENT EXECUTE FUNCTION annals.refuse_change();
alter table annals.heads enable always trigger heads_append_only;
CREATE TRIGGER heads_rows_append_only BEFORE DELETE ON annals.heads FOR EACH ROW EXECUTE FUNCTION annals.refuse_change();
alter table annals.heads enable always trigger heads_rows_append_only;
alter table annals.heads enable row level security;
create policy heads_read on annals.heads for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR (started_by = ( SELECT annals.caller_actor() AS caller_actor)) OR annals.sees_an_event(aggregate_type, aggregate_id))));
create policy heads_project on annals.heads for select to annals_projector using (true);
create policy heads_progress on annals.heads for update to annals_projector using (true) with check (true);
grant select on annals.heads to annals_projector, authenticated;
grant update (projected_version) on annals.heads to annals_projector;

-- Whether a stream that this actor started has events that are hidden from the actor. For the projector, which sees all events, and for
-- annals.starter_sees_all.
create function annals.has_hidden_events(tenant_id uuid, aggregate_type text, aggregate_id text, starter text, person uuid)
 RETURNS boolean
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    return exists (
        select from annals.events e
         where e.tenant_id = has_hidden_events.tenant_id and e.aggregate_type = has_hidden_events.aggregate_type
           and e.aggregate_id = has_hidden_events.aggregate_id and not e.starter_sees and e.started_by <> e.created_by
           and e.started_by = starter and (e.user_id = person) is not true);
end
$function$;
grant execute on function annals.has_hidden_events(uuid,text,text,text,uuid) to annals_projector;

-- Whether no event of a stream that the caller started is hidden from them. For a stream that the caller did not start it returns true, so
-- a policy must also check started_by.
create function annals.starter_sees_all(aggregate_type text, aggregate_id text)
 RETURNS boolean
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    return not annals.has_hidden_events(annals.caller_tenant(), aggregate_type, aggregate_id, annals.caller_actor(), annals.caller_user_id());
end
$function$;
grant execute on function annals.starter_sees_all(text,text) to authenticated;

-- Whether the caller sees an event of this stream.
create function annals.sees_an_event(stream_type text, stream_id text)
 RETURNS boolean
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
AS $function$
begin
    return exists (
        select from annals.events e
         where e.tenant_id = annals.caller_tenant() and e.aggregate_id = stream_id and e.aggregate_type = stream_type
         order by e.aggregate_version);
end
$function$;
grant execute on function annals.sees_an_event(text,text) to authenticated;

-- Whether the caller sees the state of this stream: because they see the tenant, or because they started it and none of its events is
-- hidden from them.
create function annals.sees_state(stream_type text, stream_id text)
 RETURNS boolean
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
AS $function$
declare
    -- A variable: with the function's call in the condition, the policy of annals.heads would be evaluated first, and search the stream.
    actor text;
begin
    if annals.caller_sees_tenant() then
        return true;
    end if;
    actor := annals.caller_actor();
    perform from annals.heads h
      where h.tenant_id = annals.caller_tenant() and h.aggregate_type = stream_type and h.aggregate_id = stream_id and h.started_by = actor;
    return found and annals.starter_sees_all(stream_type, stream_id);
end
$function$;
grant execute on function annals.sees_state(text,text) to authenticated;

-- metadata and recorded of events that a stream's starter sees although others appended them. In annals.events both are empty then. Readers
-- put them back: public.event_stream and the HTTP API.
create table annals.withheld_context (
    -- The event.
    event_number bigint not null,
    -- Its tenant.
    tenant_id uuid not null,
    -- Its user_id, if it has one.
    user_id uuid,
    -- Its actor.
    created_by text collate "C" not null,
    -- Its metadata.
    metadata jsonb not null,
    -- Its recorded.
    recorded jsonb not null,
    constraint withheld_context_pkey PRIMARY KEY (event_number)
);
CREATE TRIGGER withheld_context_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON annals.withheld_context FOR EACH STATEMENT EXECUTE FUNCTION annals.refuse_change();
alter table annals.withheld_context enable always trigger withheld_context_append_only;
CREATE TRIGGER withheld_context_rows_append_only BEFORE DELETE OR UPDATE ON annals.withheld_context FOR EACH ROW EXECUTE FUNCTION annals.refuse_change();
alter table annals.withheld_context enable always trigger withheld_context_rows_append_only;
alter table annals.withheld_context enable row level security;
create policy withheld_context_read on annals.withheld_context for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR (created_by = ( SELECT annals.caller_actor() AS caller_actor)) OR ((user_id = ( SELECT annals.caller_user_id() AS caller_user_id)) AND (created_by !~~ 'user:%'::text)))));
create policy withheld_context_project on annals.withheld_context for select to annals_projector using (true);
grant select on annals.withheld_context to annals_projector, authenticated;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- append
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- Names of the fields in which a request differs from the event that is stored under its idempotency key, separated by commas; null: none.
create function annals.differing_fields(stored annals.events, role text, actor text, person uuid, event_type text, aggregate_type text, aggregate_id text, version text, data jsonb, metadata jsonb, created_by text, user_id uuid, source text, happened_at timestamp with time zone, correlation_id text, causation_id uuid, command_id text, expected_version integer)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select nullif(concat_ws(',',
        case when stored.event_type is distinct from event_type then 'event_type' end,
        case when stored.aggregate_type is distinct from aggregate_type then 'aggregate_type' end,
        case when stored.aggregate_id is distinct from aggregate_id then 'aggregate_id' end,
        case when stored.version <> version then 'version' end,
        case when stored.data is distinct from data then 'data' end,
        case when coalesce((select w.metadata from annals.withheld_context w where w.event_number = stored.event_number), stored.metadata)
                  is distinct from metadata then 'metadata' end,
        case when stored.created_by <> coalesce(created_by, actor) then 'created_by' end,
        case when stored.user_id is distinct from
                  case when user_id is not null then user_id
                       when role <> 'service' then person
                       when created_by ~ '^user:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then substr(created_by, 6)::uuid end
             then 'user_id' end,
        case when stored.source <> coalesce(source, 'api') then 'source' end,
        case when stored."timestamp" <> coalesce(happened_at, stored.created_at) then 'timestamp' end,
        case when stored.correlation_id is distinct from correlation_id then 'correlation_id' end,
        case when stored.causation_id is distinct from causation_id then 'causation_id' end,
        case when stored.command_id is distinct from command_id then 'command_id' end,
        case when stored.aggregate_version - 1 <> expected_version then 'expected_version' end), '')
$function$;

-- Refuses an idempotency key that was used for a different request. The refusal's detail names the fields, never their values.
create function annals.refuse_differing(fields text, member integer)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    if fields is null then
        return true;
    end if;
    return annals.refuse(422, 'idempotency_key_reused', format(
        'the idempotency key was used for an event with a different %s; use a new key for a new event', replace(fields, ',', ', ')),
        member, fields);
end
$function$;

-- Refuses an idempotency key that is in annals.kept_keys: it belongs to a request that appended no event.
create function annals.refuse_kept_key(member integer)
 RETURNS boolean
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select annals.refuse(422, 'idempotency_key_reused',
        'the idempotency key was used for a request that changed nothing; use a new key for a new event', member)
$function$;

-- Raises serialization_failure if one of the idempotency keys, which were unknown when the append began, has an event now. When the append
-- is retried, it finds that event and returns it.
create function annals.retry_if_same_request_won(tenant uuid, actor text, keys text[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    -- A statement of its own, because the other request committed after the append's statement took its snapshot.
    if exists (
        select from annals.events e where e.tenant_id = tenant and e.posted_by = actor and e.idempotency_key = any (keys)
    ) then
        raise exception 'the same request was served at the same moment; send it again' using errcode = 'serialization_failure';
    end if;
end
$function$;

-- Refuses an expected version, unless an equal request has appended to the stream at the same moment (annals.retry_if_same_request_won).
create function annals.refuse_version(tenant uuid, actor text, keys text[], actual integer, expected integer, member integer)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    perform annals.retry_if_same_request_won(tenant, actor, keys);
    return annals.refuse(409, 'version_conflict', format('the stream is at version %s, not %s', actual, expected), member, actual::text);
end
$function$;

-- Refuses a user or an agent a stream that another actor started. The answer is the same if the stream does not exist.
create function annals.refuse_stream(member integer)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    return annals.refuse(403, 'stream_of_another',
        'the stream was started by another actor, or does not exist; to start a new stream, leave expected_version out or send 0', member);
end
$function$;

-- Refuses an event whose type requires a stream with events, or one without, unless an equal request has appended to the stream at the same
-- moment (annals.retry_if_same_request_won).
create function annals.refuse_requirement(tenant uuid, actor text, keys text[], event_type text, aggregate_type text, aggregate_id text, requires text, member integer)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    perform annals.retry_if_same_request_won(tenant, actor, keys);
    if requires = 'new' then
        return annals.refuse(409, 'stream_exists', format(
            '%s must be the first event of its stream, but %s %s has events already', event_type, aggregate_type, aggregate_id), member);
    end if;
    return annals.refuse(409, 'stream_missing', format(
        '%s needs an existing stream: %s %s has no events. Create it first', event_type, aggregate_type, aggregate_id), member);
end
$function$;

-- Refuses an event with a text, a time or a document that the log cannot hold. The size of stored JSON is known only here: a short number
-- such as 1e1000 takes hundreds of bytes.
create function annals.refuse_bounds(data jsonb, metadata jsonb, member integer)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    if pg_column_size(data) > 4194304 then
        return annals.refuse(422, 'data_too_large', 'data is too large to store', member);
    elsif pg_column_size(metadata) > 524288 then
        return annals.refuse(422, 'metadata_too_large', 'metadata is too large to store', member);
    end if;
    return annals.refuse(422, 'malformed_event', 'a field of the event is out of its bounds', member);
end
$function$;

-- Appends one event as the caller that the claims name. event: its other fields under the names of the HTTP API, and id and part. recorded:
-- what the server observed of the request. replayed: the event was stored before, under the same idempotency key.
create function annals.append_event(claims jsonb, event jsonb, data jsonb, metadata jsonb, recorded jsonb, catalog_revision bigint, OUT id uuid, OUT event_number bigint, OUT aggregate_version integer, OUT created_at timestamp with time zone, OUT schema_version text, OUT replayed boolean, OUT created_by text, OUT user_id uuid)
 RETURNS record
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_seqscan TO 'off'
AS $function$
#variable_conflict use_variable
declare
    app              jsonb := claims -> 'app_metadata';
    role             text := coalesce(app ->> 'role', 'user');
    tenant           uuid := coalesce((app ->> 'tenant_id')::uuid, '00000000-0000-0000-0000-000000000000');
    actor            text;
    person           uuid;
    sent             annals.sent_event := jsonb_populate_record(null::annals.sent_event, event);
    kind             record;
    head             record;
    stored           annals.events;
begin
    id := sent.id;
    created_by := sent.created_by;
    user_id := sent.user_id;
    -- As annals.caller_of, whose call costs three times as much. It refuses the claims that name no caller.
    if role in ('user', 'staff') then
        person := (claims ->> 'sub')::uuid;
        actor := 'user:' || person;
    elsif role in ('agent', 'service') then
        actor := role || ':' || (app ->> 'name');
    end if;
    if actor is null then
        perform annals.caller_of(claims);
    end if;

    if sent.idempotency_key is not null then
        select e.* into stored
          from annals.events e
         where e.tenant_id = tenant and e.posted_by = actor and e.idempotency_key = sent.idempotency_key;
        if found then
            perform annals.refuse_differing(annals.differing_fields(
                stored, role, actor, person, sent.event_type, sent.aggregate_type, sent.aggregate_id, sent.version, data, metadata, created_by,
                user_id, sent.source, sent."timestamp", sent.correlation_id, sent.causation_id, sent.command_id, sent.expected_version), 0);
            id := stored.id; event_number := stored.event_number; aggregate_version := stored.aggregate_version;
            created_at := stored.created_at; schema_version := stored.version; replayed := true;
            created_by := stored.created_by; user_id := stored.user_id;
            return;
        end if;
    end if;

    select t.aggregate_type, t.current_version, t.posters, t.requires, t.starter_sees, t.appended_by,
           (select r.revision from annals.catalog_revision r where r.only_row) as revision
      into kind
      from annals.event_types t
     where t.event_type = sent.event_type and (t.tenant_id = tenant or t.tenant_id is null)
     order by t.tenant_id nulls last
     limit 1;
    -- All rules in one expression, because each expression costs time to set up. Which rule was broken is only determined if one was.
    if (kind.revision = catalog_revision and kind.aggregate_type = sent.aggregate_type
        and (sent.version is null or sent.version = kind.current_version) and role = any (kind.posters)
        and (kind.appended_by is null or kind.appended_by = sent.part)) is not true then
        if kind.revision <> catalog_revision then
            perform annals.refuse(503, 'catalog_changed', 'the event was checked against an older catalog');
        elsif kind.aggregate_type is null then
            perform annals.refuse(422, 'unknown_event_type', format('event type %s is not in the catalog', sent.event_type), 0);
        elsif kind.aggregate_type <> sent.aggregate_type then
            perform annals.refuse(422, 'aggregate_type_mismatch', format('%s belongs to aggregate type %s', sent.event_type, kind.aggregate_type), 0);
        elsif sent.version <> kind.current_version and not exists (
            select from annals.event_type_versions v
             where v.event_type = sent.event_type and v.version = sent.version
               and (v.tenant_id is null or v.tenant_id = tenant)
        ) then
            perform annals.refuse(422, 'unknown_version', format('%s has no version %s', sent.event_type, sent.version), 0);
        elsif role <> all (kind.posters) then
            perform annals.refuse(403, 'event_type_forbidden', format('the role %s may not post %s', role, sent.event_type), 0);
        elsif kind.appended_by is not null and kind.appended_by is distinct from sent.part then
            perform annals.refuse(403, 'event_type_forbidden', format('only Annals itself may append %s', sent.event_type), 0);
        end if;
    end if;

    -- In parts, because PostgreSQL sets a condition up in each transaction, and most events need only the second part.
    if sent.source is not null or sent.correlation_id is not null or sent.command_id is not null or sent.idempotency_key is not null
       or sent."timestamp" is not null then
        if (length(sent.source) between 1 and 100 and length(sent.correlation_id) between 1 and 128 and length(sent.command_id) between 1 and 128
            and length(sent.idempotency_key) between 1 and 255
            and sent."timestamp" >= '0001-01-01 00:00:00+00' and sent."timestamp" < '10000-01-01 00:00:00+00') is false then
            perform annals.refuse_bounds(data, metadata, 0);
        end if;
    end if;
    if jsonb_typeof(data) <> 'object' or jsonb_typeof(metadata) <> 'object' or jsonb_typeof(recorded) <> 'object' then
        perform annals.refuse_bounds(data, metadata, 0);
    end if;
    if pg_column_size(data) >= 512 or pg_column_size(metadata) >= 512 then
        if pg_column_size(data) > 4194304 or pg_column_size(metadata) > 524288 or jsonb_path_exists(data, 'strict $.**{100}')
           or jsonb_path_exists(metadata, 'strict $.**{100}') then
            perform annals.refuse_bounds(data, metadata, 0);
        end if;
    end if;

    if role = 'service' then
        if length(created_by) > 100 or created_by !~ '^(user|agent|service):[^[:cntrl:]]+$|^system$' then
            perform annals.refuse(422, 'malformed_event', 'created_by is not the name of an actor', 0);
        end if;
        created_by := coalesce(created_by, actor);
        if user_id is null and created_by ~ '^user:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
            user_id := substr(created_by, 6)::uuid;
        end if;
        if created_by like 'user:%' and created_by <> 'user:' || user_id then
            perform annals.refuse(422, 'user_is_not_actor', 'created_by and user_id name different users', 0);
        end if;
    elsif created_by <> actor or user_id <> person or (user_id is not null and person is null) then
        perform annals.refuse(403, 'actor_forged', 'created_by and user_id must match the token; only a service may name another actor', 0);
    else
        created_by := actor;
        user_id := person;
    end if;

    insert into annals.heads as h (tenant_id, aggregate_type, aggregate_id, version, last_created_at, started_by)
    values (tenant, sent.aggregate_type, sent.aggregate_id, 1, clock_timestamp(), created_by)
    on conflict on constraint heads_pkey do update
        set version = h.version + 1,
            last_created_at = greatest(clock_timestamp(), h.last_created_at + interval '1 microsecond')
    returning h.version, h.last_created_at, h.started_by into head;

    -- With the stream locked, because keys are kept under this lock (see kept_keys).
    if sent.idempotency_key is not null and exists (
        select from annals.kept_keys k where k.tenant_id = tenant and k.posted_by = actor and k.idempotency_key = sent.idempotency_key
    ) then
        perform annals.refuse_kept_key(0);
    end if;

    -- Before the versions are compared: the caller must not learn whether another actor's stream exists, or its version. Therefore a stream
    -- that does not exist gets the same refusal if the request expects it to exist.
    if role in ('user', 'agent') and (
        head.started_by <> actor
        or (head.version = 1 and (sent.expected_version <> 0 or (kind.requires = 'existing' and sent.part is null)))
    ) then
        perform annals.refuse_stream(0);
    end if;
    if head.version <> sent.expected_version + 1 then
        perform annals.refuse_version(tenant, actor, array[sent.idempotency_key], head.version - 1, sent.expected_version, 0);
    end if;
    if (kind.requires = case head.version when 1 then 'existing' else 'new' end and sent.part is null) then
        perform annals.refuse_requirement(tenant, actor, array[sent.idempotency_key], sent.event_type, sent.aggregate_type, sent.aggregate_id, kind.requires, 0);
    end if;

    if head.version = 1 and (length(sent.aggregate_id) between 1 and 128 and sent.aggregate_id !~
        '[[:cntrl:]\u0080-\u009F\u00AD\u200B\u200C\u200E\u200F\u2028-\u202E\u2060-\u206F\uFEFF\uFFF0-\uFFFB\uFFFE\uFFFF\uE000-\uF8FF]') is false then
        perform annals.refuse(422, 'malformed_event', 'aggregate_id must have 1 to 128 printable characters', 0);
    end if;

    if sent.event_type in ('projection.retried', 'projection.skipped') then
        perform annals.mark_decision(tenant, sent.aggregate_id, id);
    end if;

    -- Before the number is drawn, and held until the transaction ends: readers across streams wait for it (see high_water_mark).
    lock table annals_locks.appends in row exclusive mode;
    event_number := nextval('annals.event_numbers'); aggregate_version := head.version;
    created_at := head.last_created_at; schema_version := coalesce(sent.version, kind.current_version); replayed := false;
    recorded := recorded || jsonb_build_object('posted_by', actor);
    if kind.starter_sees and head.started_by <> created_by then
        insert into annals.withheld_context (event_number, tenant_id, user_id, created_by, metadata, recorded)
        values (event_number, tenant, user_id, created_by, metadata, recorded);
        metadata := '{}';
        recorded := '{}';
    end if;
    insert into annals.events (
        event_number, created_at, "timestamp", id, tenant_id, user_id, causation_id, aggregate_version, event_type, aggregate_type,
        aggregate_id, version, created_by, posted_by, started_by, starter_sees, source, correlation_id, command_id, idempotency_key, data, metadata,
        recorded)
    values (
        event_number, created_at, coalesce(sent."timestamp", created_at), id, tenant, user_id, sent.causation_id, aggregate_version,
        sent.event_type, sent.aggregate_type, sent.aggregate_id, schema_version, created_by, actor, head.started_by, kind.starter_sees,
        coalesce(sent.source, 'api'), sent.correlation_id, sent.command_id, sent.idempotency_key, data, metadata, recorded);
end
$function$;
grant execute on function annals.append_event(jsonb,jsonb,jsonb,jsonb,jsonb,bigint) to annals_api;

-- Appends many events atomically as the caller that the claims name. member is the index in the arrays, from 0.
create function annals.append_events(claims jsonb, new_ids uuid[], event_types text[], aggregate_types text[], aggregate_ids text[], versions text[], datas jsonb[], metadatas jsonb[], recorded jsonb, created_bys text[], user_ids uuid[], sources text[], happened_ats timestamp with time zone[], correlation_ids text[], causation_ids uuid[], command_ids text[], idempotency_keys text[], expected_versions integer[], parts text[], catalog_revision bigint)
 RETURNS TABLE(member integer, id uuid, event_number bigint, aggregate_version integer, created_at timestamp with time zone, schema_version text, replayed boolean, created_by text, user_id uuid)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
    role    text;
    tenant  uuid;
    actor   text;
    person  uuid;
    known   int[] := '{}';
    unknown text[];
    types   text[];
begin
    select c.role, c.tenant, c.actor, c.person into role, tenant, actor, person from annals.caller_of(claims) c;

    if array_remove(idempotency_keys, null) <> '{}' then
        -- Which keys are known is decided by this one statement. An equal request may commit before the next statement; a second look
        -- could then return a member as known that is also appended, or neither.
        select coalesce(array_agg(k.ord) filter (where e.id is not null), '{}'), array_agg(k.key) filter (where e.id is null)
          into known, unknown
          from unnest(idempotency_keys) with ordinality as k (key, ord)
          left join annals.events e on e.tenant_id = tenant and e.posted_by = actor and e.idempotency_key = k.key;
    end if;
    if known <> '{}' then
        return query
            select (k.ord - 1)::int, e.id, e.event_number, e.aggregate_version, e.created_at, e.version, true, e.created_by, e.user_id
              from unnest(idempotency_keys, event_types, aggregate_types, aggregate_ids, versions, datas, metadatas, created_bys, user_ids,
                          sources, happened_ats, correlation_ids, causation_ids, command_ids, expected_versions)
                   with ordinality as k (key, event_type, aggregate_type, aggregate_id, version, data, metadata, created_by, user_id,
                          source, happened_at, correlation_id, causation_id, command_id, expected_version, ord)
              join annals.events e on e.tenant_id = tenant and e.posted_by = actor and e.idempotency_key = k.key
             where k.ord = any (known)
               and annals.refuse_differing(annals.differing_fields(
                   e, role, actor, person, k.event_type, k.aggregate_type, k.aggregate_id, k.version, k.data, k.metadata, k.created_by,
                   k.user_id, k.source, k.happened_at, k.correlation_id, k.causation_id, k.command_id, k.expected_version), (k.ord - 1)::int);
        if cardinality(known) = cardinality(new_ids) then
            return;
        end if;
    end if;
    if (select r.revision <> append_events.catalog_revision from annals.catalog_revision r where r.only_row) then
        perform annals.refuse(503, 'catalog_changed', 'the events were checked against an older catalog');
    end if;

    -- Before the numbers are drawn, and held until the transaction ends: readers across streams wait for it (see high_water_mark).
    lock table annals_locks.appends in row exclusive mode;
    -- The planner estimates few rows for the arrays, whatever their length, and would join them by nested loops: quadratic time.
    perform set_config('enable_nestloop', 'off', true);
    recorded := recorded || jsonb_build_object('posted_by', actor);
    -- Each type once, because the catalog's rows are compared with every element.
    types := array(select distinct t.event_type from unnest(event_types) as t (event_type));
    -- The rows that are numbered, sorted and joined have only the fields that this needs. The others are taken from their arrays by
    -- subscript where they are used. That costs the same for arrays of any length, because PL/pgSQL keeps the elements of its arrays apart.
    return query
    with kinds as materialized (
        select distinct on (t.event_type) t.event_type, t.aggregate_type, t.current_version, role = any (t.posters) as may_post,
               t.requires, t.starter_sees, t.appended_by
          from annals.event_types t
         where t.event_type = any (types) and (t.tenant_id = tenant or t.tenant_id is null)
         order by t.event_type, t.tenant_id nulls last
    ), checked as materialized (
        select n.ord::int as ord, n.id, n.event_type, n.aggregate_type collate "C" as aggregate_type,
               n.aggregate_id collate "C" as aggregate_id, coalesce(n.version, k.current_version) as version, n.expected_version, n.part,
               k.requires, k.starter_sees, coalesce(n.created_by, actor) as created_by,
               case when role <> 'service' then person
                    when n.user_id is null and n.created_by ~ '^user:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                    then substr(n.created_by, 6)::uuid
                    else n.user_id end as user_id,
               row_number() over stream as place,
               count(*) over stream as places
          from unnest(new_ids, event_types, aggregate_types, aggregate_ids, versions, created_bys, user_ids, expected_versions, parts)
               with ordinality as n (id, event_type, aggregate_type, aggregate_id, version, created_by, user_id, expected_version, part, ord)
          left join kinds k on k.event_type = n.event_type
         where n.ord <> all (known)
           and case
               when k.event_type is null then annals.refuse(422, 'unknown_event_type', format('event type %s is not in the catalog', n.event_type), (n.ord - 1)::int)
               when k.aggregate_type <> n.aggregate_type then annals.refuse(422, 'aggregate_type_mismatch', format('%s belongs to aggregate type %s', n.event_type, k.aggregate_type), (n.ord - 1)::int)
               when (n.version <> k.current_version) is true and not exists (
                   select from annals.event_type_versions v
                    where v.event_type = n.event_type and v.version = n.version and (v.tenant_id is null or v.tenant_id = tenant))
               then annals.refuse(422, 'unknown_version', format('%s has no version %s', n.event_type, n.version), (n.ord - 1)::int)
               when not k.may_post then annals.refuse(403, 'event_type_forbidden', format('the role %s may not post %s', role, n.event_type), (n.ord - 1)::int)
               when (length(sources[n.ord]) between 1 and 100 and length(correlation_ids[n.ord]) between 1 and 128
                     and length(command_ids[n.ord]) between 1 and 128 and length(idempotency_keys[n.ord]) between 1 and 255
                     and happened_ats[n.ord] >= '0001-01-01 00:00:00+00' and happened_ats[n.ord] < '10000-01-01 00:00:00+00'
                     and jsonb_typeof(datas[n.ord]) = 'object' and jsonb_typeof(metadatas[n.ord]) = 'object' and jsonb_typeof(append_events.recorded) = 'object'
                     and pg_column_size(datas[n.ord]) <= 4194304 and pg_column_size(metadatas[n.ord]) <= 524288
                     and (pg_column_size(datas[n.ord]) < 512 or not jsonb_path_exists(datas[n.ord], 'strict $.**{100}'))
                     and (pg_column_size(metadatas[n.ord]) < 512 or not jsonb_path_exists(metadatas[n.ord], 'strict $.**{100}'))) is false
               then annals.refuse_bounds(datas[n.ord], metadatas[n.ord], (n.ord - 1)::int)
               when role = 'service' and (length(n.created_by) > 100 or n.created_by !~ '^(user|agent|service):[^[:cntrl:]]+$|^system$')
               then annals.refuse(422, 'malformed_event', 'created_by is not the name of an actor', (n.ord - 1)::int)
               when k.appended_by is not null and k.appended_by is distinct from n.part
               then annals.refuse(403, 'event_type_forbidden', format('only Annals itself may append %s', n.event_type), (n.ord - 1)::int)
               when role <> 'service' and (n.created_by <> actor or n.user_id <> person or (n.user_id is not null and person is null))
               then annals.refuse(403, 'actor_forged', 'created_by and user_id must match the token; only a service may name another actor', (n.ord - 1)::int)
               when n.created_by like 'user:%' and n.created_by <> 'user:' || n.user_id
               then annals.refuse(422, 'user_is_not_actor', 'created_by and user_id name different users', (n.ord - 1)::int)
               else true end
        -- One window for both functions. Numbering ignores the frame, and to count it has to be the whole stream.
        window stream as (partition by n.aggregate_type collate "C", n.aggregate_id collate "C" order by n.ord
                          rows between unbounded preceding and unbounded following)
    ), locked as (
        -- In one order, independent of the batch's order: two batches that share streams then wait for each other instead of deadlocking.
        -- In the collation of the heads, because the projector locks heads in that order (annals.advance_heads).
        insert into annals.heads as h (tenant_id, aggregate_type, aggregate_id, version, last_created_at, started_by)
        select tenant, c.aggregate_type, c.aggregate_id, c.places, clock_timestamp() + (c.places - 1) * interval '1 microsecond', c.created_by
          from checked c
         where c.place = 1
         order by c.aggregate_type, c.aggregate_id
        on conflict on constraint heads_pkey do update
            set version = h.version + excluded.version,
                last_created_at = greatest(clock_timestamp(), h.last_created_at + interval '1 microsecond')
                                  + (excluded.version - 1) * interval '1 microsecond'
        returning h.aggregate_type, h.aggregate_id, h.version, h.last_created_at, h.started_by
    ), placed as (
        -- PostgreSQL evaluates volatile expressions after sorting, so numbers are drawn in the batch's order, and after every stream is
        -- locked. They are not drawn by the INSERT, because joining its rows to their place in the batch would cost quadratic time.
        select c.*, nextval('annals.event_numbers') as event_number, l.started_by, c.starter_sees and l.started_by <> c.created_by as is_withheld,
               (l.version - c.places + c.place)::int as aggregate_version,
               l.last_created_at - (c.places - c.place) * interval '1 microsecond' as created_at
          from checked c
          join locked l on l.aggregate_type = c.aggregate_type and l.aggregate_id = c.aggregate_id
         where case
               when role in ('user', 'agent')
                    and (l.started_by <> actor or (l.version = c.places and (c.expected_version <> c.place - 1
                                                         or (c.place = 1 and c.requires = 'existing' and c.part is null))))
               then annals.refuse_stream((c.ord - 1)::int)
               when c.expected_version <> l.version - c.places + c.place - 1
               then annals.refuse_version(tenant, actor, unknown, (l.version - c.places + c.place - 1)::int, c.expected_version, (c.ord - 1)::int)
               when l.version - c.places + c.place = 1 and (length(c.aggregate_id) between 1 and 128 and c.aggregate_id !~
                    '[[:cntrl:]\u0080-\u009F\u00AD\u200B\u200C\u200E\u200F\u2028-\u202E\u2060-\u206F\uFEFF\uFFF0-\uFFFB\uFFFE\uFFFF\uE000-\uF8FF]') is false
               then annals.refuse(422, 'malformed_event', 'aggregate_id must have 1 to 128 printable characters', (c.ord - 1)::int)
               when c.requires = case l.version - c.places + c.place when 1 then 'existing' else 'new' end and c.part is null
               then annals.refuse_requirement(tenant, actor, unknown, c.event_type, c.aggregate_type, c.aggregate_id, c.requires, (c.ord - 1)::int)
               else true end
         order by c.ord
    ), withheld as (
        insert into annals.withheld_context (event_number, tenant_id, user_id, created_by, metadata, recorded)
        select p.event_number, tenant, p.user_id, p.created_by, metadatas[p.ord], append_events.recorded from placed p where p.is_withheld
    ), inserted as (
        insert into annals.events (
            event_number, created_at, "timestamp", id, tenant_id, user_id, causation_id, aggregate_version, event_type, aggregate_type,
            aggregate_id, version, created_by, posted_by, started_by, starter_sees, source, correlation_id, command_id, idempotency_key, data, metadata,
            recorded)
        select p.event_number, p.created_at, coalesce(happened_ats[p.ord], p.created_at), p.id, tenant, p.user_id, causation_ids[p.ord],
               p.aggregate_version, p.event_type, p.aggregate_type, p.aggregate_id, p.version, p.created_by, actor, p.started_by, p.starter_sees,
               coalesce(sources[p.ord], 'api'), correlation_ids[p.ord], command_ids[p.ord], idempotency_keys[p.ord], datas[p.ord],
               case when p.is_withheld then '{}' else metadatas[p.ord] end, case when p.is_withheld then '{}' else append_events.recorded end
          from placed p
    )
    select (p.ord - 1)::int, p.id, p.event_number, p.aggregate_version, p.created_at, p.version, false, p.created_by, p.user_id
      from placed p;
    -- In statements of their own, which see what was committed while the streams were waited for. The streams are locked now, and keys are
    -- kept under this lock (see kept_keys).
    if unknown is not null then
        perform annals.refuse_kept_key((k.ord - 1)::int)
           from unnest(idempotency_keys) with ordinality as k (key, ord)
           join annals.kept_keys kept on kept.tenant_id = tenant and kept.posted_by = actor and kept.idempotency_key = k.key
          where k.key = any (unknown)
          order by k.ord
          limit 1;
    end if;
    perform annals.mark_decision(tenant, u.aggregate_id, u.id)
       from unnest(event_types, aggregate_ids, new_ids) as u (event_type, aggregate_id, id)
      where u.event_type in ('projection.retried', 'projection.skipped') and event_types && '{projection.retried,projection.skipped}';
    perform set_config('enable_nestloop', 'on', true);
end
$function$;
grant execute on function annals.append_events(jsonb,uuid[],text[],text[],text[],text[],jsonb[],jsonb[],jsonb,text[],uuid[],text[],timestamp with time zone[],text[],uuid[],text[],text[],integer[],text[],bigint) to annals_api;

-- For an append whose connection broke before its answer arrived: waits until no append to its streams is running, then returns those of
-- its events that are stored.
create function annals.find_appended(claims jsonb, aggregate_types text[], aggregate_ids text[], event_ids uuid[])
 RETURNS TABLE(member integer, id uuid, event_number bigint, aggregate_version integer, created_at timestamp with time zone, schema_version text, replayed boolean, created_by text, user_id uuid)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
declare
    tenant uuid;
begin
    select c.tenant into tenant from annals.caller_of(claims) c;
    begin
        -- Locks the streams as an append does, so it waits for every running append to them. The error then releases the locks.
        insert into annals.heads as h (tenant_id, aggregate_type, aggregate_id, version, last_created_at, started_by)
        select tenant, u.aggregate_type, u.aggregate_id, 1, clock_timestamp(), 'system'
          from (select distinct * from unnest(aggregate_types, aggregate_ids)) as u (aggregate_type, aggregate_id)
         order by u.aggregate_type collate "C", u.aggregate_id collate "C"
        on conflict on constraint heads_pkey do update set version = h.version;
        raise exception using errcode = 'AN000';
    exception when sqlstate 'AN000' then
        null;
    end;
    -- A statement of its own, which sees what was committed while the one above was waiting.
    return query
        select (i.place - 1)::int, e.id, e.event_number, e.aggregate_version, e.created_at, e.version, false, e.created_by, e.user_id
          from unnest(event_ids) with ordinality as i (id, place)
          join annals.events e on e.tenant_id = tenant and e.id = i.id
         order by i.place;
end
$function$;
grant execute on function annals.find_appended(jsonb,text[],text[],uuid[]) to annals_api;

-- Those of the idempotency keys under which the caller has appended an event.
create function annals.known_keys(claims jsonb, keys text[])
 RETURNS SETOF text
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select e.idempotency_key
      from annals.caller_of(claims) c
      join annals.events e on e.tenant_id = c.tenant and e.posted_by = c.actor and e.idempotency_key = any (keys)
$function$;
grant execute on function annals.known_keys(jsonb,text[]) to annals_api;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- kept_keys
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- Idempotency keys of requests that found nothing to do. The sweep deletes them after 30 days.
create table annals.kept_keys (
    -- Tenant, from the token.
    tenant_id uuid not null,
    -- When the request was answered.
    kept_at timestamp with time zone not null default clock_timestamp(),
    -- Actor of the token.
    posted_by text collate "C" not null,
    -- The client's key. No event of the same actor in the entity's stream has it.
    idempotency_key text collate "C" not null,
    -- SHA-256 of the request: the same key with a different request is refused.
    request_digest text collate "C" not null,
    -- unchanged: the entity had the wanted values already. deleted: it was deleted already.
    outcome text collate "C" not null,
    constraint kept_keys_key_length CHECK (((length(idempotency_key) >= 1) AND (length(idempotency_key) <= 255))),
    constraint kept_keys_digest CHECK ((request_digest ~ '^[0-9a-f]{64}$'::text)),
    constraint kept_keys_outcome CHECK ((outcome = ANY (ARRAY['unchanged'::text, 'deleted'::text]))),
    constraint kept_keys_pkey PRIMARY KEY (tenant_id, posted_by, idempotency_key)
);
CREATE INDEX kept_keys_by_age ON annals.kept_keys USING btree (kept_at);
alter table annals.kept_keys enable row level security;
create policy kept_keys_project on annals.kept_keys for all to annals_projector using (true) with check (true);
grant select, delete on annals.kept_keys to annals_projector;

-- The caller's request that was answered without an event under this key.
create function annals.find_kept_key(idempotency_key text)
 RETURNS TABLE(request_digest text, outcome text)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select k.request_digest, k.outcome from annals.kept_keys k
     where k.tenant_id = annals.caller_tenant() and k.posted_by = annals.caller_actor() and k.idempotency_key = find_kept_key.idempotency_key
$function$;
grant execute on function annals.find_kept_key(text) to authenticated;

-- Stores the key of a request that found nothing to do at this version of an entity. False if the entity has another version by now or the
-- key is known; the request must then be processed again.
create function annals.keep_key(aggregate_type text, aggregate_id text, entity_version integer, idempotency_key text, request_digest text, outcome text)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    tenant constant uuid := annals.caller_tenant();
    actor  constant text := annals.caller_actor();
begin
    if actor is null then
        perform annals.refuse(401, 'caller_unknown', 'the request has no claims that identify a caller');
    end if;
    -- Waits for a running append, and checks the version again afterwards.
    perform from annals.heads h
      where h.tenant_id = tenant and h.aggregate_type = keep_key.aggregate_type and h.aggregate_id = keep_key.aggregate_id
        and h.version = keep_key.entity_version and (annals.caller_sees_tenant() or h.started_by = actor)
        for share;
    if not found or exists (select from annals.events e where e.tenant_id = tenant and e.posted_by = actor
                                                          and e.idempotency_key = keep_key.idempotency_key) then
        return false;
    end if;
    insert into annals.kept_keys (tenant_id, posted_by, idempotency_key, request_digest, outcome)
    values (tenant, actor, keep_key.idempotency_key, keep_key.request_digest, keep_key.outcome)
    on conflict on constraint kept_keys_pkey do nothing;
    return found;
end
$function$;
grant execute on function annals.keep_key(text,text,integer,text,text,text) to authenticated;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- read_models
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- State of every aggregate as JSON: the fold of its events up to version.
create table annals.entities (
    -- Tenant of the stream.
    tenant_id uuid not null,
    -- Recorded time of the first event.
    created_at timestamp with time zone not null,
    -- Recorded time of the event at version.
    updated_at timestamp with time zone not null,
    -- Recorded time of the event that deleted it; the state is kept. Null: not deleted.
    deleted_at timestamp with time zone,
    -- Version of the last event folded in; equals the head's projected_version.
    version integer not null,
    -- Aggregate type of the stream.
    aggregate_type text collate "C" not null,
    -- Id of the aggregate.
    aggregate_id text collate "C" not null,
    -- Actor of the stream's first event, for the policy.
    started_by text collate "C" not null,
    -- The entity's fields; child collections are arrays of objects with an id.
    state jsonb not null,
    constraint entities_version_positive CHECK ((version > 0)),
    constraint entities_state_shape CHECK (((jsonb_typeof(state) = 'object'::text) AND (pg_column_size(state) <= 8388608))),
    constraint entities_pkey PRIMARY KEY (tenant_id, aggregate_type, aggregate_id)
);
alter table annals.entities enable row level security;
create policy entities_read on annals.entities for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all(aggregate_type, aggregate_id)))));
create policy entities_project on annals.entities for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on annals.entities to annals_projector;
grant select on annals.entities to authenticated;

-- Streams whose next event could not be applied. They wait here, visibly, while all others continue.
create table annals.parked_streams (
    -- Tenant of the stream.
    tenant_id uuid not null,
    -- When the last attempt failed.
    parked_at timestamp with time zone not null default clock_timestamp(),
    -- The event that could not be applied.
    event_id uuid not null,
    -- Number of that event.
    event_number bigint not null,
    -- The projection.retried or projection.skipped event that decides about it; null while there is none. A retry that fails sets it back
    -- to null.
    decided_by uuid,
    -- Version of that event: one more than the head's projected_version.
    aggregate_version integer not null,
    -- How many times it has failed.
    attempts integer not null default 1,
    -- True once the projector has carried out the decision and no longer leaves the stream out. The row is then deleted in the transaction
    -- that projects the stream up to its head, not before: if the projector is killed, a sweep finds the stream by this row.
    retrying boolean not null default false,
    -- Aggregate type of the stream.
    aggregate_type text collate "C" not null,
    -- Id of the aggregate.
    aggregate_id text collate "C" not null,
    -- SQLSTATE of the failure, or a code of Annals' own, such as state_too_large.
    error_code text not null,
    -- Message of PostgreSQL or of Annals. PostgreSQL's detail, which quotes the whole row, is left out.
    error text not null,
    constraint parked_streams_attempts CHECK ((attempts > 0)),
    constraint parked_streams_pkey PRIMARY KEY (tenant_id, aggregate_type, aggregate_id)
);
alter table annals.parked_streams enable row level security;
create policy parked_streams_read on annals.parked_streams for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND ( SELECT annals.caller_sees_tenant() AS caller_sees_tenant)));
create policy parked_streams_project on annals.parked_streams for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on annals.parked_streams to annals_projector;
grant select on annals.parked_streams to authenticated;

-- Events that staff decided to leave out of state. Every fold leaves them out.
create table annals.skipped_events (
    -- Tenant of the stream.
    tenant_id uuid not null,
    -- When the projector carried the decision out.
    skipped_at timestamp with time zone not null default clock_timestamp(),
    -- The event left out.
    event_id uuid not null,
    -- The projection.skipped event that records the decision, with who and why.
    instruction_id uuid not null,
    -- Its version.
    aggregate_version integer not null,
    -- Aggregate type of the stream.
    aggregate_type text collate "C" not null,
    -- Id of the aggregate.
    aggregate_id text collate "C" not null,
    constraint skipped_events_pkey PRIMARY KEY (tenant_id, aggregate_type, aggregate_id, aggregate_version)
);
alter table annals.skipped_events enable row level security;
create policy skipped_events_read on annals.skipped_events for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR annals.sees_state(aggregate_type, aggregate_id))));
create policy skipped_events_project on annals.skipped_events for all to annals_projector using (true) with check (true);
grant select, insert on annals.skipped_events to annals_projector;
grant select on annals.skipped_events to authenticated;

-- For the append functions: records the decision of a projection.retried or projection.skipped event on the parked stream. Refuses a second
-- decision.
create function annals.mark_decision(tenant uuid, parked_event text, decision uuid)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    -- NOWAIT, to avoid a deadlock: a projector that holds this row will lock heads, and this append holds one. The append is retried.
    perform from annals.parked_streams p
      where p.tenant_id = tenant and p.event_id::text = parked_event and p.decided_by is null
        for no key update nowait;
    if not found then
        perform annals.refuse(409, 'not_parked',
            'no stream waits for a decision about this event: it is not parked, or the decision has been made already');
    end if;
    update annals.parked_streams p set decided_by = decision
     where p.tenant_id = tenant and p.event_id::text = parked_event;
end
$function$;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- high_water_mark
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- Virtual transaction ids of the transactions that have appended, or are about to, and have not ended. Prepared transactions are included.
create function annals.open_appends()
 RETURNS text[]
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select coalesce(array_agg(l.virtualtransaction), '{}')
      from pg_locks l
     where l.locktype = 'relation' and l.relation = 'annals_locks.appends'::regclass and l.mode = 'RowExclusiveLock' and l.granted
       and l.database = (select d.oid from pg_database d where d.datname = current_database())
$function$;
grant execute on function annals.open_appends() to annals_projector, authenticated;

-- The highest visible event number, and the transactions that must end before a new snapshot contains every event up to it.
create function annals.high_water_mark(OUT event_number bigint, OUT open_appends text[])
 RETURNS record
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    -- Two statements, because the order matters: first the number, then the locks.
    event_number := (select coalesce(max(e.event_number), 0) from annals.events e);
    open_appends := annals.open_appends();
end
$function$;
grant execute on function annals.high_water_mark() to annals_projector, authenticated;

-- A high-water mark: every snapshot that is taken from now on contains all events up to it. If an append stays open for longer than
-- patience, it returns the position of the sweep, which is lower and for which the same holds.
create function annals.wait_for_high_water_mark(patience interval)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    deadline constant timestamptz := clock_timestamp() + patience;
    mark     record := annals.high_water_mark();
    own      text;
begin
    select l.virtualtransaction into own from pg_locks l where l.pid = pg_backend_pid() limit 1;
    while mark.open_appends && annals.open_appends() loop
        -- A transaction that has appended itself would wait for itself.
        if own = any (mark.open_appends) or clock_timestamp() > deadline then
            return (select c.position from annals.checkpoints c where c.name = 'sweep');
        end if;
        perform pg_sleep(0.005);
    end loop;
    return mark.event_number;
end
$function$;
grant execute on function annals.wait_for_high_water_mark(interval) to annals_projector, authenticated;

-- The oldest append whose transaction has not ended, for which readers across streams wait: its server process, or the name of its prepared
-- transaction, and its age in seconds.
create function annals.oldest_open_append(OUT pid integer, OUT prepared text, OUT age_seconds bigint)
 RETURNS record
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select a.pid, p.gid, extract(epoch from clock_timestamp() - coalesce(a.xact_start, p.prepared))::bigint
      from pg_locks l
      left join pg_stat_activity a on a.pid = l.pid
      left join pg_locks x on l.pid is null and x.locktype = 'transactionid' and x.virtualtransaction = l.virtualtransaction
      left join pg_prepared_xacts p on p.transaction = x.transactionid
     where l.locktype = 'relation' and l.relation = 'annals_locks.appends'::regclass and l.mode = 'RowExclusiveLock' and l.granted
       and l.database = (select d.oid from pg_database d where d.datname = current_database())
       and l.pid is distinct from pg_backend_pid()
     order by coalesce(a.xact_start, p.prepared) nulls last
     limit 1
$function$;
grant execute on function annals.oldest_open_append() to annals_projector, authenticated;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- checkpoints
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- Named positions of consumers that read across streams: the sweep and replays.
create table annals.checkpoints (
    -- Name of the consumer.
    name text collate "C" not null,
    -- The consumer has processed every event with this number or a lower one.
    "position" bigint not null default 0,
    -- The number of events that it has processed.
    event_count bigint not null default 0,
    -- How many of its events belong to the default tenant.
    default_tenant_events bigint not null default 0,
    -- When it last moved.
    updated_at timestamp with time zone not null default clock_timestamp(),
    -- Tenant whose events the consumer reads; null: those of all.
    tenant_id uuid,
    -- What the consumer reads: tenant_id, event_types as requested, from, to. Null only for the sweep.
    consumer jsonb,
    -- When the last run of the consumer began; null for the sweep.
    run_started_at timestamp with time zone,
    -- When that run had read everything; null while it runs, or if it failed or was killed.
    run_ended_at timestamp with time zone,
    -- Events that the run has processed. Its rate is over run_started_at to run_ended_at or, while it runs, updated_at.
    run_event_count bigint not null default 0,
    -- How many of the run's events belong to the default tenant.
    run_default_tenant_events bigint not null default 0,
    -- Id of the last event that the consumer processed; null before the first, and for the sweep, which processes streams.
    last_event_id uuid,
    -- What the consumer says about itself, as it last gave it.
    metadata jsonb not null default '{}'::jsonb,
    constraint checkpoints_name_shape CHECK (((length(name) >= 1) AND (length(name) <= 100))),
    constraint checkpoints_position CHECK ((("position" >= 0) AND (event_count >= 0))),
    constraint checkpoints_name_printable CHECK ((name !~ '[[:cntrl:]\u0080-\u009F\u00AD\u200B-\u200F\u2028-\u202E\u2060-\u206F\uFEFF\uFFF0-\uFFFB\uFFFE\uFFFF\uE000-\uF8FF]'::text)),
    constraint checkpoints_consumer_known CHECK (((name = 'sweep'::text) = (consumer IS NULL))),
    constraint checkpoints_consumer_shape CHECK ((jsonb_typeof(consumer) = 'object'::text)),
    constraint checkpoints_sweep_reads_all CHECK (((name <> 'sweep'::text) OR (tenant_id IS NULL))),
    constraint checkpoints_metadata_shape CHECK (((jsonb_typeof(metadata) = 'object'::text) AND (pg_column_size(metadata) <= 524288))),
    constraint checkpoints_run CHECK ((((run_event_count >= 0) AND (run_event_count <= event_count)) AND ((default_tenant_events >= 0) AND (default_tenant_events <= event_count)) AND ((run_default_tenant_events >= 0) AND (run_default_tenant_events <= run_event_count)) AND ((run_started_at IS NOT NULL) OR ((run_ended_at IS NULL) AND (run_event_count = 0))))),
    constraint checkpoints_pkey PRIMARY KEY (name)
);
alter table annals.checkpoints enable row level security;
create policy checkpoints_read on annals.checkpoints for select to authenticated using (((name = 'sweep'::text) OR ((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND ( SELECT annals.caller_sees_tenant() AS caller_sees_tenant))));
create policy checkpoints_project on annals.checkpoints for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on annals.checkpoints to annals_projector;
grant select on annals.checkpoints to authenticated;

-- Replays of the caller's tenant, the hundred that moved last. For a replay of all tenants it returns the default tenant's part.
create function annals.list_replays()
 RETURNS TABLE(name text, "position" bigint, event_count bigint, last_event_id uuid, metadata jsonb, updated_at timestamp with time zone, run_started_at timestamp with time zone, run_ended_at timestamp with time zone, run_event_count bigint)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select c.name, c.position, case when c.tenant_id is null then c.default_tenant_events else c.event_count end,
           -- The last event of a replay of all tenants may be another tenant's.
           case when c.tenant_id is not null then c.last_event_id end, c.metadata, c.updated_at, c.run_started_at, c.run_ended_at,
            case when c.tenant_id is null then c.run_default_tenant_events else c.run_event_count end
      from annals.checkpoints c
     where c.name <> 'sweep' and (select annals.caller_sees_tenant())
       and coalesce(c.tenant_id, '00000000-0000-0000-0000-000000000000') = (select annals.caller_tenant())
     order by c.updated_at desc, c.name limit 100
$function$;
grant execute on function annals.list_replays() to authenticated;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- state_tables
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- Template of an entity's state table (like annals.state_row including all); never contains a row.
create table annals.state_row (
    -- Tenant that the entity belongs to.
    tenant_id uuid not null,
    -- The entity's id: aggregate_id of its stream.
    id text collate "C" not null,
    -- Version of the last event that is projected here.
    version integer not null,
    -- Actor of the stream's first event. Users and agents see what they started, as long as no event of it is hidden from them.
    started_by text collate "C" not null,
    -- Recorded time of the event that deleted the entity; null: not deleted.
    deleted_at timestamp with time zone,
    -- Recorded time of the stream's first event.
    created_at timestamp with time zone not null,
    -- Recorded time of the last event that is projected here.
    updated_at timestamp with time zone not null,
    constraint state_row_version CHECK ((version >= 1)),
    constraint state_row_pkey PRIMARY KEY (tenant_id, id)
);
alter table annals.state_row enable row level security;

-- Template of a child collection's table, which adds {aggregate_type}_id and its primary key; never contains a row.
create table annals.child_row (
    -- Tenant that the parent belongs to.
    tenant_id uuid not null,
    -- The child's id, unique within its parent and collection.
    id text collate "C" not null,
    -- Actor of the first event of the parent's stream; users and agents see what they started.
    started_by text collate "C" not null
);
alter table annals.child_row enable row level security;

-- Which table of schema public the projection fills from which aggregate's state.
create table annals.state_tables (
    -- Aggregate type, as in annals.event_types.
    aggregate_type text collate "C" not null,
    -- Child collection whose rows the table contains; null: the entity's own table.
    collection text collate "C",
    -- Table in schema public.
    table_name name not null,
    constraint state_tables_key UNIQUE NULLS NOT DISTINCT (aggregate_type, collection),
    constraint state_tables_table UNIQUE (table_name)
);
CREATE TRIGGER state_tables_revision AFTER INSERT OR DELETE OR UPDATE ON annals.state_tables FOR EACH STATEMENT EXECUTE FUNCTION annals.raise_catalog_revision();
alter table annals.state_tables enable row level security;
create policy state_tables_read on annals.state_tables for select to annals_projector, authenticated using (true);
grant select on annals.state_tables to annals_projector, authenticated;

-- Raises an error unless the table is in schema public and has the standard columns of an entity's (or child's) table and its primary key.
create function annals.check_state_table(table_name regclass, aggregate_type text, collection text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    template   regclass := case when collection is null then 'annals.state_row' else 'annals.child_row' end;
    key_wanted text[]   := case when collection is null then array['tenant_id', 'id']
                                else array['tenant_id', aggregate_type || '_id', 'id'] end;
    key_found  text[];
    missing    text;
begin
    if (select c.relnamespace from pg_catalog.pg_class c where c.oid = table_name) <> 'public'::regnamespace then
        raise exception 'state table % is not in schema public', table_name using errcode = 'invalid_table_definition';
    end if;

    select string_agg(wanted.attname, ', ' order by wanted.attnum) into missing
      from pg_catalog.pg_attribute wanted
     where wanted.attrelid = template and wanted.attnum > 0 and not wanted.attisdropped
       and not exists (
           select from pg_catalog.pg_attribute found
            where found.attrelid = table_name and found.attname = wanted.attname and not found.attisdropped
              and (found.atttypid, found.attcollation, found.attnotnull) = (wanted.atttypid, wanted.attcollation, wanted.attnotnull));
    if missing is not null then
        raise exception 'state table % lacks columns of %, or defines them differently: %', table_name, template, missing
            using errcode = 'invalid_table_definition';
    end if;

    select array_agg(a.attname::text order by k.position) into key_found
      from pg_catalog.pg_constraint c
      cross join unnest(c.conkey) with ordinality as k (attnum, position)
      join pg_catalog.pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.attnum
     where c.conrelid = table_name and c.contype = 'p';
    if key_found is distinct from key_wanted then
        raise exception 'the primary key of state table % is %, not %', table_name, key_found, key_wanted
            using errcode = 'invalid_table_definition';
    end if;
end
$function$;

-- Makes a table of schema public the state table of an aggregate type, or of one of its child collections. It checks the columns, registers
-- the table for the projection, makes the function that writes it, sets row security, policies, grants and the comments of standard
-- columns, and requests a rebuild if the aggregate type has streams already.
create function annals.register_state_table(table_name regclass, aggregate_type text, collection text DEFAULT NULL::text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    bare_name constant name := (select c.relname from pg_catalog.pg_class c where c.oid = table_name);
    standard  record;
begin
    perform annals.check_state_table(table_name, aggregate_type, collection);
    insert into annals.state_tables (aggregate_type, collection, table_name)
    values (register_state_table.aggregate_type, register_state_table.collection, bare_name);

    execute format('alter table %s enable row level security', table_name);
    execute format('revoke all on table %s from public, anon, authenticated', table_name);
    -- Supabase's service_role bypasses row security and gets all rights on new tables by default. It may only read, because a rebuild would
    -- overwrite what it wrote.
    if to_regrole('service_role') is not null then
        execute format('revoke insert, update, delete, truncate, references, trigger on table %s from service_role', table_name);
    end if;
    execute format('grant select on table %s to authenticated', table_name);
    execute format('grant select, insert, update, delete on table %s to annals_projector', table_name);
    execute format(
        'create policy %I on %s for select to authenticated
             using (tenant_id = (select annals.caller_tenant())
                    and ((select annals.caller_sees_tenant())
                         or (started_by = (select annals.caller_actor()) and annals.starter_sees_all(%L, %I))))',
        bare_name || '_read', table_name, register_state_table.aggregate_type,
        case when register_state_table.collection is null then 'id' else register_state_table.aggregate_type || '_id' end);
    execute format('create policy %I on %s for all to annals_projector using (true) with check (true)',
                   bare_name || '_project', table_name);

    if register_state_table.collection is null then
        perform annals.make_state_writer(table_name);
    end if;

    for standard in
        select a.attname, coalesce(s.comment, format('Id of the %s that it belongs to.', register_state_table.aggregate_type)) as comment
          from pg_catalog.pg_attribute a
          left join (select t.attname, pg_catalog.col_description(t.attrelid, t.attnum) as comment
                       from pg_catalog.pg_attribute t
                      where t.attnum > 0 and t.attrelid = case when register_state_table.collection is null
                                                               then 'annals.state_row'::regclass
                                                               else 'annals.child_row'::regclass end) as s on s.attname = a.attname
         where a.attrelid = register_state_table.table_name
           and pg_catalog.col_description(a.attrelid, a.attnum) is null
           and (s.attname is not null
                or (register_state_table.collection is not null and a.attname = register_state_table.aggregate_type || '_id'))
    loop
        execute format('comment on column %s.%I is %L', table_name, standard.attname, standard.comment);
    end loop;
    -- There may be streams already, if a tenant had registered event types of this aggregate type by itself. Their rows are missing in the
    -- new table, so the fold version rises, and read models are rebuilt.
    if exists (select from annals.heads h where h.aggregate_type = register_state_table.aggregate_type) then
        perform annals.raise_fold_version(null, register_state_table.aggregate_type);
    end if;
end
$function$;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- projection
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- Projectors lock it in a shared mode (ROW EXCLUSIVE), an exchange of read models EXCLUSIVE.
create table annals_locks.read_models ();
grant update on annals_locks.read_models to annals_projector;

-- What streams have left to project: their next events, the state before the first of them, and the catalog's revision. is_last: more may
-- be left, because a limit of bytes was reached.
create function annals.read_work(tenant_ids uuid[], aggregate_types text[], aggregate_ids text[], per_stream bigint, max_bytes bigint, max_stream_bytes bigint, turn_bytes bigint)
 RETURNS TABLE(revision bigint, tenant_id uuid, aggregate_type text, aggregate_id text, projected_version integer, started_by text, entity_version integer, entity_created_at timestamp with time zone, entity_updated_at timestamp with time zone, deleted_at timestamp with time zone, state text, id uuid, event_number bigint, aggregate_version integer, event_type text, schema_version text, created_at timestamp with time zone, data text, skipped boolean, is_last boolean)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_memoize TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
begin
    return query
    select (select r.revision from annals.catalog_revision r where r.only_row), w.tenant_id, w.aggregate_type, w.aggregate_id,
           w.projected_version, w.started_by, w.entity_version, w.entity_created_at, w.entity_updated_at, w.deleted_at, w.state::text,
           w.id, w.event_number, w.aggregate_version, w.event_type, w.version, w.created_at, w.data::text, w.skipped, false
      from (
        select h.tenant_id, h.aggregate_type, h.aggregate_id, h.projected_version, h.started_by, n.version as entity_version,
               n.created_at as entity_created_at, n.updated_at as entity_updated_at, n.deleted_at,
               case when e.aggregate_version = h.projected_version + 1 then n.state end as state,
               e.id, e.event_number, e.aggregate_version, e.event_type, e.version, e.created_at, e.data,
               (select exists (select from annals.skipped_events))
               and exists (select from annals.skipped_events s
                            where s.tenant_id = e.tenant_id and s.aggregate_type = e.aggregate_type and s.aggregate_id = e.aggregate_id
                              and s.aggregate_version = e.aggregate_version) as skipped,
               sum(pg_column_size(e.data)::bigint * case when pg_column_compression(e.data) is null then 6 else 1530 end
                   + coalesce(pg_column_size(n.state)::bigint * case when pg_column_compression(n.state) is null then 6 else 1530 end, 0))
                   over () as most_bytes
          from unnest(tenant_ids, aggregate_types, aggregate_ids) as k (tenant_id, aggregate_type, aggregate_id)
         cross join lateral (
               select * from annals.heads h
                where h.tenant_id = k.tenant_id and h.aggregate_type = k.aggregate_type and h.aggregate_id = k.aggregate_id
                  and h.projected_version < h.version offset 0) as h
          left join lateral (
               select * from annals.entities n
                where n.tenant_id = h.tenant_id and n.aggregate_type = h.aggregate_type and n.aggregate_id = h.aggregate_id
                  and h.projected_version > 0 offset 0) as n on true
         cross join lateral (
               select * from annals.events e
                where e.tenant_id = h.tenant_id and e.aggregate_type = h.aggregate_type and e.aggregate_id = h.aggregate_id
                  and e.aggregate_version > h.projected_version and e.aggregate_version <= h.version
                order by e.aggregate_version limit per_stream) as e
         where not ((select exists (select from annals.parked_streams))
                    and exists (select from annals.parked_streams p
                                 where p.tenant_id = h.tenant_id and p.aggregate_type = h.aggregate_type and p.aggregate_id = h.aggregate_id
                                   and not p.retrying))) as w
     where w.most_bytes < max_bytes
     order by w.tenant_id, w.aggregate_type, w.aggregate_id, w.aggregate_version;
    if found then
        return;
    end if;

    return query
    select w.revision, w.tenant_id, w.aggregate_type, w.aggregate_id, w.projected_version, w.started_by, w.entity_version, w.entity_created_at,
           w.entity_updated_at, w.deleted_at, w.state, w.id, w.event_number, w.aggregate_version, w.event_type, w.schema_version, w.created_at,
           w.data, w.skipped, w.is_last or w.running_bytes >= max_bytes
      from (
    select u.*, octet_length(u.data) + coalesce(octet_length(u.state), 0) as bytes,
           sum(octet_length(u.data) + coalesce(octet_length(u.state), 0)) over (order by u.guessed_before) as running_bytes
      from (
    select t.revision, t.tenant_id, t.aggregate_type, t.aggregate_id, t.projected_version, t.started_by,
           t.entity_version, t.entity_created_at, t.entity_updated_at, t.deleted_at, t.entity_state::text as state,
           t.id, t.event_number, t.aggregate_version, t.event_type, t.schema_version, t.created_at, t.event_data::text as data, t.skipped,
           t.guessed_before, t.guessed_before + t.guess >= max_bytes or t.stream_guess >= max_stream_bytes as is_last
      from (
    select s.*, sum(s.guess) over (order by (s.tenant_guess - s.guess) / turn_bytes, s.tenant_id, s.aggregate_type, s.aggregate_id, s.aggregate_version) - s.guess
               as guessed_before
      from (
    select g.*, sum(g.guess) over (partition by g.tenant_id order by g.aggregate_type, g.aggregate_id, g.aggregate_version) as tenant_guess,
           sum(g.guess) over (partition by g.tenant_id, g.aggregate_type, g.aggregate_id order by g.aggregate_version) as stream_guess
      from (
    select r.revision, h.tenant_id, h.aggregate_type, h.aggregate_id, h.projected_version, h.started_by,
           n.version as entity_version, n.created_at as entity_created_at, n.updated_at as entity_updated_at, n.deleted_at,
           case when e.aggregate_version = h.projected_version + 1 then n.state end as entity_state,
           e.id, e.event_number, e.aggregate_version, e.event_type, e.version as schema_version, e.created_at, e.data as event_data,
           (select exists (select from annals.skipped_events))
           and exists (select from annals.skipped_events s
                        where s.tenant_id = e.tenant_id and s.aggregate_type = e.aggregate_type and s.aggregate_id = e.aggregate_id
                          and s.aggregate_version = e.aggregate_version) as skipped,
           pg_column_size(e.data) * case when pg_column_compression(e.data) is null then 1 else 16 end
           + case when e.aggregate_version = h.projected_version + 1
                  then coalesce(pg_column_size(n.state) * case when pg_column_compression(n.state) is null then 1 else 16 end, 0)
                  else 0 end as guess
      from unnest(tenant_ids, aggregate_types, aggregate_ids) as k (tenant_id, aggregate_type, aggregate_id)
     cross join lateral (
           select * from annals.heads h
            where h.tenant_id = k.tenant_id and h.aggregate_type = k.aggregate_type and h.aggregate_id = k.aggregate_id
              and h.projected_version < h.version offset 0) as h
      left join lateral (
           select * from annals.entities n
            where n.tenant_id = h.tenant_id and n.aggregate_type = h.aggregate_type and n.aggregate_id = h.aggregate_id
              and h.projected_version > 0 offset 0) as n on true
     cross join lateral (
           select e.* from annals.events e
            where e.tenant_id = h.tenant_id and e.aggregate_type = h.aggregate_type and e.aggregate_id = h.aggregate_id
              and e.aggregate_version > h.projected_version and e.aggregate_version <= h.version
            order by e.aggregate_version limit per_stream) as e
     cross join (select c.revision from annals.catalog_revision c where c.only_row) as r
     where not ((select exists (select from annals.parked_streams))
                and exists (select from annals.parked_streams p
                             where p.tenant_id = h.tenant_id and p.aggregate_type = h.aggregate_type and p.aggregate_id = h.aggregate_id
                               and not p.retrying))
    ) as g) as s where s.stream_guess - s.guess < max_stream_bytes) as t where t.guessed_before < max_bytes offset 0) as u) as w
     where w.running_bytes - w.bytes < max_bytes
     order by w.tenant_id, w.aggregate_type, w.aggregate_id, w.aggregate_version;
end
$function$;
grant execute on function annals.read_work(uuid[],text[],text[],bigint,bigint,bigint,bigint) to annals_projector;

-- Moves entities to a later version. Fails with serialization_failure if another projector has done so, or if the catalog has changed since
-- the events were read; the caller then reads again and retries.
create function annals.write_entities(tenant_ids uuid[], aggregate_types text[], aggregate_ids text[], versions integer[], started_bys text[], deleted_ats timestamp with time zone[], created_ats timestamp with time zone[], updated_ats timestamp with time zone[], states jsonb[], catalog_revision bigint)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
declare
    written bigint;
begin
    lock table annals_locks.read_models in row exclusive mode;
    insert into annals.entities as t (tenant_id, aggregate_type, aggregate_id, version, started_by, deleted_at, created_at, updated_at, state)
    select u.tenant_id, u.aggregate_type, u.aggregate_id, u.version, u.started_by, u.deleted_at, u.created_at, u.updated_at, u.state
      from unnest(tenant_ids, aggregate_types, aggregate_ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states)
           as u (tenant_id, aggregate_type, aggregate_id, version, started_by, deleted_at, created_at, updated_at, state)
     order by u.tenant_id, u.aggregate_type, u.aggregate_id
    on conflict on constraint entities_pkey do update
        set version = excluded.version, deleted_at = excluded.deleted_at, updated_at = excluded.updated_at, state = excluded.state
        where t.version < excluded.version;
    get diagnostics written = row_count;
    if written <> cardinality(tenant_ids) then
        raise exception 'another projector has already projected this stream' using errcode = 'serialization_failure';
    end if;
    if (select r.revision <> write_entities.catalog_revision from annals.catalog_revision r) then
        raise exception 'the catalog has changed' using errcode = 'serialization_failure', constraint = 'projection_outdated';
    end if;
end
$function$;
grant execute on function annals.write_entities(uuid[],text[],text[],integer[],text[],timestamp with time zone[],timestamp with time zone[],timestamp with time zone[],jsonb[],bigint) to annals_projector;

-- Records progress and deletes the rows of parked streams that have advanced. It is the last call of its transaction, because appends wait
-- for the heads' locks. Fails like annals.write_entities.
create function annals.advance_heads(tenant_ids uuid[], aggregate_types text[], aggregate_ids text[], from_versions integer[], to_versions integer[], left_out bigint)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
 SET jit TO 'off'
AS $function$
declare
    moved   bigint;
    skipped bigint := 0;
begin
    -- An open append holds its stream's head locked. The other streams of the batch must not wait long for it.
    perform set_config('lock_timeout', '1s', true);
    -- Lock in the order in which appends lock, then update. The order in which an UPDATE locks rows depends on its plan.
    perform from annals.heads h
       join unnest(tenant_ids, aggregate_types, aggregate_ids) as u (tenant_id, aggregate_type, aggregate_id)
         on h.tenant_id = u.tenant_id and h.aggregate_type = u.aggregate_type and h.aggregate_id = u.aggregate_id
      order by h.tenant_id, h.aggregate_type, h.aggregate_id
        for no key update of h;
    update annals.heads h
       set projected_version = u.to_version
      from unnest(tenant_ids, aggregate_types, aggregate_ids, from_versions, to_versions)
           as u (tenant_id, aggregate_type, aggregate_id, from_version, to_version)
     where h.tenant_id = u.tenant_id and h.aggregate_type = u.aggregate_type and h.aggregate_id = u.aggregate_id
       and h.projected_version = u.from_version and u.to_version <= h.version;
    get diagnostics moved = row_count;
    if moved <> cardinality(tenant_ids) then
        raise exception 'another projector has already projected this stream' using errcode = 'serialization_failure';
    end if;
    -- Usually no stream is parked and no event is skipped. Looking for any costs less than a lookup per stream. A stream of this batch
    -- cannot be parked after this, because parking needs the head's lock.
    if exists (select from annals.parked_streams) then
        -- A parked stream that is retried keeps its row until it is projected up to its head. Its remaining events may be below the sweep's
        -- checkpoint, and no wake-up may name the stream. If this projector is killed, the sweep finds the stream only by this row.
        delete from annals.parked_streams p
         using unnest(tenant_ids, aggregate_types, aggregate_ids, to_versions)
               as u (tenant_id, aggregate_type, aggregate_id, to_version)
          join annals.heads h
            on h.tenant_id = u.tenant_id and h.aggregate_type = u.aggregate_type and h.aggregate_id = u.aggregate_id
         where p.tenant_id = u.tenant_id and p.aggregate_type = u.aggregate_type and p.aggregate_id = u.aggregate_id
           and p.aggregate_version <= u.to_version and (not p.retrying or h.version = u.to_version);
    end if;
    -- After the DELETE, which waits for a concurrent decision about the same row: a skip that was decided after the events were read must
    -- not be missed.
    if exists (select from annals.skipped_events) then
        select count(*) into skipped
          from annals.skipped_events s
          join unnest(tenant_ids, aggregate_types, aggregate_ids, from_versions, to_versions)
               as u (tenant_id, aggregate_type, aggregate_id, from_version, to_version)
            on s.tenant_id = u.tenant_id and s.aggregate_type = u.aggregate_type and s.aggregate_id = u.aggregate_id
           and s.aggregate_version > u.from_version and s.aggregate_version <= u.to_version;
    end if;
    if skipped <> left_out then
        raise exception 'staff has already decided about this stream' using errcode = 'serialization_failure';
    end if;
end
$function$;
grant execute on function annals.advance_heads(uuid[],text[],text[],integer[],integer[],bigint) to annals_projector;

-- The columns of a state table that are filled from JSON by name, as three pieces of SQL: the names, the source expressions, and the
-- assignments of the update.
create function annals.module_columns(table_name regclass, standard name[], OUT names text, OUT sources text, OUT updates text)
 RETURNS record
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select coalesce(string_agg(format(', %I', a.attname), '' order by a.attnum), ''),
           coalesce(string_agg(case when a.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
                                    then format(', trim_scale((u.source ->> %1$L)::numeric)::text::%2$s', a.attname, a.atttypid::regtype)
                                    else format(', s.%I', a.attname) end, '' order by a.attnum), ''),
           coalesce(string_agg(format(', %1$I = excluded.%1$I', a.attname), '' order by a.attnum), '')
      from pg_attribute a
     where a.attrelid = table_name and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and a.attname <> all (standard)
$function$;
grant execute on function annals.module_columns(regclass,name[]) to annals_projector;

-- Integer columns. annals.module_columns reads them itself, and jsonb_populate_record must not.
create function annals.integer_columns(table_name regclass)
 RETURNS text[]
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select coalesce(array_agg(a.attname::text), '{}')
      from pg_attribute a
     where a.attrelid = table_name and a.attnum > 0 and not a.attisdropped
       and a.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
$function$;
grant execute on function annals.integer_columns(regclass) to annals_projector;

-- Upserts rows of a module's state table; its own columns are taken from the state by name.
create function annals.write_states(table_name regclass, tenant_ids uuid[], ids text[], versions integer[], started_bys text[], deleted_ats timestamp with time zone[], created_ats timestamp with time zone[], updated_ats timestamp with time zone[], states jsonb[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    standard constant name[] := '{tenant_id,id,version,started_by,deleted_at,created_at,updated_at}';
    columns  record := annals.module_columns(table_name, standard);
begin
    execute format(
        'insert into %1$s as t (tenant_id, id, version, started_by, deleted_at, created_at, updated_at%2$s)
         select u.tenant_id, u.id, u.version, u.started_by, u.deleted_at, u.created_at, u.updated_at%3$s
           from unnest($1, $2, $3, $4, $5, $6, $7, $8)
                as u (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, source)
          cross join lateral jsonb_populate_record(null::%1$s, u.source - $9) as s
         on conflict (tenant_id, id) do update
            set version = excluded.version, deleted_at = excluded.deleted_at, updated_at = excluded.updated_at%4$s',
        table_name, columns.names, columns.sources, columns.updates)
    using tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states,
          standard::text[] || annals.integer_columns(table_name);
end
$function$;
grant execute on function annals.write_states(regclass,uuid[],text[],integer[],text[],timestamp with time zone[],timestamp with time zone[],timestamp with time zone[],jsonb[]) to annals_projector;

-- Makes the function that writes a state table with a kept plan. annals.register_state_table calls it. Call it again after a change of the
-- table's columns; until then annals.write_states writes the rows, which is slower.
create function annals.make_state_writer(table_name regclass)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    standard constant name[] := '{tenant_id,id,version,started_by,deleted_at,created_at,updated_at}';
    columns  record := annals.module_columns(table_name, standard);
    writer   name := (select 'fill_' || c.relname from pg_class c where c.oid = table_name);
begin
    execute format(
        'create or replace function annals.%1$I(
             tenant_ids uuid[], ids text[], versions int[], started_bys text[], deleted_ats timestamptz[], created_ats timestamptz[],
             updated_ats timestamptz[], states jsonb[]
         ) returns void language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $writer$
         begin
             if annals.columns_of(%2$L) <> %3$L then
                 perform annals.write_states(%2$L, tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states);
                 return;
             end if;
             insert into %2$s as t (tenant_id, id, version, started_by, deleted_at, created_at, updated_at%4$s)
             select u.tenant_id, u.id, u.version, u.started_by, u.deleted_at, u.created_at, u.updated_at%5$s
               from unnest(tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states)
                    as u (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, source)
              cross join lateral jsonb_populate_record(null::%2$s, u.source - %6$L::text[]) as s
             on conflict (tenant_id, id) do update
                set version = excluded.version, deleted_at = excluded.deleted_at, updated_at = excluded.updated_at%7$s;
         end
         $writer$',
        writer, table_name, annals.columns_of(table_name), columns.names, columns.sources,
        standard::text[] || annals.integer_columns(table_name), columns.updates);
    execute format('revoke execute on function annals.%I(uuid[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[]) from public', writer);
    execute format('grant execute on function annals.%I(uuid[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[]) to annals_projector', writer);
    execute format('comment on function annals.%I(uuid[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[]) is %L', writer,
                   format('Upserts rows of %s like annals.write_states, with a plan that is kept. Made by annals.make_state_writer.', table_name));
end
$function$;

-- The columns of a table and their types as text, to notice a change of them.
create function annals.columns_of(table_name regclass)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
begin
    return (select string_agg(a.attname || ' ' || a.atttypid, ', ' order by a.attnum)
              from pg_attribute a
             where a.attrelid = table_name and a.attnum > 0 and not a.attisdropped);
end
$function$;
grant execute on function annals.columns_of(regclass) to annals_projector;

-- Upserts rows of an aggregate type's state table by its own function, if it has a table.
create function annals.fill_states(aggregate_type text, tenant_ids uuid[], ids text[], versions integer[], started_bys text[], deleted_ats timestamp with time zone[], created_ats timestamp with time zone[], updated_ats timestamp with time zone[], states jsonb[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    writer name := (select 'fill_' || t.table_name from annals.state_tables t
                     where t.aggregate_type = fill_states.aggregate_type and t.collection is null);
begin
    if writer is not null then
        execute format('select annals.%I($1, $2, $3, $4, $5, $6, $7, $8)', writer)
          using tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states;
    end if;
end
$function$;
grant execute on function annals.fill_states(text,uuid[],text[],integer[],text[],timestamp with time zone[],timestamp with time zone[],timestamp with time zone[],jsonb[]) to annals_projector;

-- Moves entities to a later version (annals.write_entities), and writes the rows of their state tables.
create function annals.write_read_models(tenant_ids uuid[], aggregate_types text[], aggregate_ids text[], versions integer[], started_bys text[], deleted_ats timestamp with time zone[], created_ats timestamp with time zone[], updated_ats timestamp with time zone[], states jsonb[], catalog_revision bigint)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
declare
    kind text;
begin
    perform annals.write_entities(tenant_ids, aggregate_types, aggregate_ids, versions, started_bys, deleted_ats, created_ats, updated_ats,
                                  states, catalog_revision);
    kind := aggregate_types[1];
    if kind = all (aggregate_types) then
        perform annals.fill_states(kind, tenant_ids, aggregate_ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states);
        return;
    end if;
    for kind in select distinct t.name from unnest(aggregate_types) as t (name) order by t.name loop
        perform annals.fill_states(kind, array_agg(u.tenant_id), array_agg(u.id), array_agg(u.version), array_agg(u.started_by),
                                   array_agg(u.deleted_at), array_agg(u.created_at), array_agg(u.updated_at), array_agg(u.state))
           from unnest(aggregate_types, tenant_ids, aggregate_ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states)
                as u (aggregate_type, tenant_id, id, version, started_by, deleted_at, created_at, updated_at, state)
          where u.aggregate_type = kind;
    end loop;
end
$function$;
grant execute on function annals.write_read_models(uuid[],text[],text[],integer[],text[],timestamp with time zone[],timestamp with time zone[],timestamp with time zone[],jsonb[],bigint) to annals_projector;

-- Upserts rows of a child collection's table; its own columns are taken from the child by name.
create function annals.write_children(table_name regclass, parent name, tenant_ids uuid[], parent_ids text[], ids text[], started_bys text[], children jsonb[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    standard constant name[] := array['tenant_id', parent, 'id', 'started_by'];
    columns  record := annals.module_columns(table_name, standard);
begin
    execute format(
        'insert into %1$s as t (tenant_id, %5$I, id, started_by%2$s)
         select u.tenant_id, u.parent_id, u.id, u.started_by%3$s
           from unnest($1, $2, $3, $4, $5) as u (tenant_id, parent_id, id, started_by, source)
          cross join lateral jsonb_populate_record(null::%1$s, u.source - $6) as s
         on conflict (tenant_id, %5$I, id) do update set started_by = excluded.started_by%4$s',
        table_name, columns.names, columns.sources, columns.updates, parent)
    using tenant_ids, parent_ids, ids, started_bys, children, standard::text[] || annals.integer_columns(table_name);
end
$function$;
grant execute on function annals.write_children(regclass,name,uuid[],text[],text[],text[],jsonb[]) to annals_projector;

-- Deletes rows of a child collection's table.
create function annals.delete_children(table_name regclass, parent name, tenant_ids uuid[], parent_ids text[], ids text[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    execute format(
        'delete from %1$s t using unnest($1, $2, $3) as u (tenant_id, parent_id, id)
          where t.tenant_id = u.tenant_id and t.%2$I = u.parent_id and t.id = u.id', table_name, parent)
    using tenant_ids, parent_ids, ids;
end
$function$;
grant execute on function annals.delete_children(regclass,name,uuid[],text[],text[]) to annals_projector;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- snapshots
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- States of streams at some versions: the newest three of each stream, and of the older ones one in about a thousand versions. Derived from
-- the log, so any of them may be lost.
create table annals.snapshots (
    -- Tenant of the stream.
    tenant_id uuid not null,
    -- When it was written.
    taken_at timestamp with time zone not null default clock_timestamp(),
    -- Recorded time of the stream's first event.
    created_at timestamp with time zone not null,
    -- Recorded time of the event at version.
    updated_at timestamp with time zone not null,
    -- Recorded time of the event that had deleted the entity by then; null: not deleted.
    deleted_at timestamp with time zone,
    -- Fold version of the state, from annals.fold_version_of when it was written. The snapshot is used only while that is the current one.
    fold_version bigint not null,
    -- Version of the last event folded in.
    version integer not null,
    -- Aggregate type of the stream.
    aggregate_type text collate "C" not null,
    -- Id of the aggregate.
    aggregate_id text collate "C" not null,
    -- Actor of the stream's first event, for the policy.
    started_by text collate "C" not null,
    -- The state.
    state jsonb not null,
    -- Who requested it and why: created_by, reason, and whatever else staff gave.
    metadata jsonb not null,
    -- SHA-256 of everything that a reader uses; see annals.snapshot_digest.
    digest bytea not null,
    constraint snapshots_version_positive CHECK ((version > 0)),
    constraint snapshots_state_shape CHECK (((jsonb_typeof(state) = 'object'::text) AND (jsonb_typeof(metadata) = 'object'::text))),
    constraint snapshots_pkey PRIMARY KEY (tenant_id, aggregate_type, aggregate_id, version)
);
alter table annals.snapshots enable row level security;
create policy snapshots_read on annals.snapshots for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND (COALESCE((metadata ->> 'created_by'::text), 'system'::text) = ANY (ARRAY['system'::text, ( SELECT annals.caller_actor() AS caller_actor)])) AND annals.starter_sees_all(aggregate_type, aggregate_id)))));
create policy snapshots_project on annals.snapshots for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on annals.snapshots to annals_projector;
grant select on annals.snapshots to authenticated;

-- The digest that an unchanged snapshot has.
create function annals.snapshot_digest(snapshot annals.snapshots)
 RETURNS bytea
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select sha256(convert_to(jsonb_build_array(
        snapshot.tenant_id, snapshot.aggregate_type, snapshot.aggregate_id, snapshot.version, snapshot.fold_version, snapshot.started_by,
        extract(epoch from snapshot.created_at), extract(epoch from snapshot.updated_at), extract(epoch from snapshot.deleted_at),
        snapshot.state)::text, 'UTF8'))
$function$;
grant execute on function annals.snapshot_digest(annals.snapshots) to annals_projector, authenticated;

-- Deletes snapshots of these streams, except the newest and those that keep gaps at 1,000 versions or less.
create function annals.thin_snapshots(tenant_ids uuid[], aggregate_types text[], aggregate_ids text[], kept integer)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    apart constant int := 1000;
    found record;
    below int;
begin
    for found in
        select s.tenant_id, s.aggregate_type, s.aggregate_id, s.version, lead(s.version) over rising as following,
               row_number() over rising = 1 as is_first, row_number() over falling > kept as is_older
          from (select distinct * from unnest(tenant_ids, aggregate_types, aggregate_ids)) as u (tenant_id, aggregate_type, aggregate_id)
          join annals.snapshots s
            on s.tenant_id = u.tenant_id and s.aggregate_type = u.aggregate_type and s.aggregate_id = u.aggregate_id
        window rising as (partition by s.tenant_id, s.aggregate_type, s.aggregate_id order by s.version),
               falling as (partition by s.tenant_id, s.aggregate_type, s.aggregate_id order by s.version desc)
         order by s.tenant_id, s.aggregate_type, s.aggregate_id, s.version
    loop
        if found.is_first then
            below := 0;
        end if;
        if found.is_older and found.following - below <= apart then
            delete from annals.snapshots s
             where s.tenant_id = found.tenant_id and s.aggregate_type = found.aggregate_type and s.aggregate_id = found.aggregate_id
               and s.version = found.version;
        else
            below := found.version;
        end if;
    end loop;
end
$function$;
grant execute on function annals.thin_snapshots(uuid[],text[],text[],integer) to annals_projector;

-- Writes snapshots and deletes unneeded ones (annals.thin_snapshots); returns how many were written. It writes none if the catalog has
-- changed since the states were folded, or if read models must be rebuilt, because the states may then be of an older fold version.
create function annals.write_snapshots(tenant_ids uuid[], aggregate_types text[], aggregate_ids text[], versions integer[], started_bys text[], deleted_ats timestamp with time zone[], created_ats timestamp with time zone[], updated_ats timestamp with time zone[], states jsonb[], metadata jsonb, kept integer, catalog_revision bigint)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    written bigint;
begin
    -- Waits for a running exchange of read models. The catalog's revision after it tells whether these states are outdated.
    lock table annals_locks.read_models in row exclusive mode;
    insert into annals.snapshots as s (tenant_id, created_at, updated_at, deleted_at, fold_version, version, aggregate_type, aggregate_id, started_by, state, metadata, digest)
    select n.tenant_id, n.created_at, n.updated_at, n.deleted_at, n.fold_version, n.version, n.aggregate_type, n.aggregate_id, n.started_by, n.state, n.metadata,
           annals.snapshot_digest(n)
      from unnest(tenant_ids, aggregate_types, aggregate_ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states)
           as u (tenant_id, aggregate_type, aggregate_id, version, started_by, deleted_at, created_at, updated_at, state)
     cross join lateral (select (
           u.tenant_id, clock_timestamp(), u.created_at, u.updated_at, u.deleted_at, annals.fold_version_of(u.tenant_id, u.aggregate_type), u.version,
           u.aggregate_type, u.aggregate_id, u.started_by, u.state, write_snapshots.metadata, ''::bytea)::annals.snapshots as row) as r
     cross join lateral (select (r.row).*) as n
     where not annals.needs_rebuild(u.tenant_id, u.aggregate_type)
       and (select r.revision = write_snapshots.catalog_revision from annals.catalog_revision r)
     order by u.tenant_id, u.aggregate_type, u.aggregate_id, u.version
    on conflict on constraint snapshots_pkey do update
        set taken_at = clock_timestamp(), created_at = excluded.created_at, updated_at = excluded.updated_at, deleted_at = excluded.deleted_at,
            fold_version = excluded.fold_version, started_by = excluded.started_by, state = excluded.state, metadata = excluded.metadata, digest = excluded.digest;
    get diagnostics written = row_count;
    perform annals.thin_snapshots(tenant_ids, aggregate_types, aggregate_ids, kept);
    return written;
end
$function$;
grant execute on function annals.write_snapshots(uuid[],text[],text[],integer[],text[],timestamp with time zone[],timestamp with time zone[],timestamp with time zone[],jsonb[],jsonb,integer,bigint) to annals_projector;

-- The version that a stream had at a recorded time; 0: before its first event. Only events that the caller sees count.
create function annals.version_at(tenant uuid, aggregate_type text, aggregate_id text, head_version integer, at timestamp with time zone)
 RETURNS integer
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    low  int := 0;
    high int := head_version;
    mid  int;
begin
    while low < high loop
        mid := low + (high - low + 1) / 2;
        if (select e.created_at <= at from annals.events e
             where e.tenant_id = tenant and e.aggregate_type = version_at.aggregate_type and e.aggregate_id = version_at.aggregate_id
               and e.aggregate_version = mid) then
            low := mid;
        else
            high := mid - 1;
        end if;
    end loop;
    return low;
end
$function$;
grant execute on function annals.version_at(uuid,text,text,integer,timestamp with time zone) to annals_projector, authenticated;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- rebuild
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- A rebuild locks it ROW SHARE as long as it runs.
create table annals_locks.rebuilds ();
grant select, update on annals_locks.rebuilds to annals_projector;

-- A rebuild that starts locks it EXCLUSIVE, so that only one at a time checks for conflicts with others.
create table annals_locks.rebuild_starts ();
grant update on annals_locks.rebuild_starts to annals_projector;

-- Source of annals.rebuilds.id.
create sequence annals.rebuild_ids as integer;
grant usage on sequence annals.rebuild_ids to annals_projector;

-- Rebuilds and verifications of read models, the newest thousand.
create table annals.rebuilds (
    -- Number of the rebuild. Its schema is annals_rebuild_{id}.
    id integer not null,
    -- Number of consecutive attempts for the same scope without success, including this one.
    attempts integer not null default 1,
    -- Tenant whose read models are rebuilt; null: all tenants.
    tenant_id uuid,
    -- Tenant of the stream at which it failed; only that tenant may read the error.
    failed_tenant_id uuid,
    -- When it was requested.
    requested_at timestamp with time zone not null default clock_timestamp(),
    -- When it began.
    started_at timestamp with time zone,
    -- When it ended, or was found to have been killed.
    finished_at timestamp with time zone,
    -- The catalog's revision when it began. A rebuild for a new fold version that did not succeed is tried again at once when the catalog
    -- has changed, otherwise after a while.
    catalog_revision bigint,
    -- Events folded so far.
    events bigint not null default 0,
    -- Streams folded so far.
    streams bigint not null default 0,
    -- Live rows that were wrong and have been corrected.
    changed_rows bigint not null default 0,
    -- Aggregate type that is rebuilt; null: all.
    aggregate_type text collate "C",
    -- rebuild; or verify, which compares and changes nothing.
    purpose text not null default 'rebuild'::text,
    -- requested, running, done, failed, or abandoned: its process was killed.
    status text not null,
    -- Actor who requested it; system: the command line, or a new fold version.
    requested_by text not null,
    -- Virtual transaction id of the transaction that holds its lock.
    held_by text,
    -- Rows of transactions older than this existed when the rebuild began to compare; null: its tables contain every stream.
    compared_since xid8,
    -- Why it failed, with the stream at which it failed if there is one.
    error text,
    constraint rebuilds_purpose CHECK ((purpose = ANY (ARRAY['rebuild'::text, 'verify'::text]))),
    constraint rebuilds_status CHECK ((status = ANY (ARRAY['requested'::text, 'running'::text, 'done'::text, 'failed'::text, 'abandoned'::text]))),
    constraint rebuilds_times CHECK ((((status = 'requested'::text) = (started_at IS NULL)) AND ((status = ANY (ARRAY['done'::text, 'failed'::text, 'abandoned'::text])) = (finished_at IS NOT NULL)))),
    constraint rebuilds_error CHECK (((status = 'failed'::text) = (error IS NOT NULL))),
    constraint rebuilds_pkey PRIMARY KEY (id)
);
CREATE UNIQUE INDEX rebuilds_requested ON annals.rebuilds USING btree (tenant_id, COALESCE(aggregate_type, ''::text)) WHERE (status = 'requested'::text);
CREATE TRIGGER rebuilds_revision AFTER UPDATE ON annals.rebuilds FOR EACH ROW WHEN (((new.status = 'done'::text) AND (old.status <> 'done'::text) AND (new.purpose = 'rebuild'::text))) EXECUTE FUNCTION annals.raise_catalog_revision();
alter table annals.rebuilds enable row level security;
create policy rebuilds_read on annals.rebuilds for select to authenticated using ((( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) AND ((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) OR ((tenant_id IS NULL) AND ((failed_tenant_id IS NULL) OR (failed_tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)))))));
create policy rebuilds_project on annals.rebuilds for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on annals.rebuilds to annals_projector;
grant select on annals.rebuilds to authenticated;

-- Takes the lock that marks a running rebuild, for as long as the transaction stays open. Returns its virtual transaction id, for
-- annals.start_rebuild.
create function annals.hold_rebuild()
 RETURNS text
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    perform set_config(s.name, '0', true) from pg_settings s
      where s.name in ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout');
    perform set_config('tcp_keepalives_idle', '30', true), set_config('tcp_keepalives_interval', '10', true),
            set_config('tcp_keepalives_count', '3', true);
    lock table annals_locks.rebuilds in row share mode;
    return (select l.virtualtransaction from pg_locks l where l.pid = pg_backend_pid() and l.locktype = 'virtualxid');
end
$function$;
grant execute on function annals.hold_rebuild() to annals_projector;

-- Whether a rebuild's process is alive.
create function annals.is_rebuild_held(id integer)
 RETURNS boolean
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select exists (select from annals.rebuilds r
                     join pg_locks l on l.virtualtransaction = r.held_by
                    where r.id = is_rebuild_held.id and r.started_at >= pg_postmaster_start_time()
                      and l.locktype = 'relation' and l.relation = 'annals_locks.rebuilds'::regclass and l.granted
                      and l.database = (select d.oid from pg_database d where d.datname = current_database()))
$function$;
grant execute on function annals.is_rebuild_held(integer) to annals_projector, authenticated;

-- Refuses if another rebuild concerns the same read models: a running one, or, if id is 0 (a new request), a requested one.
create function annals.refuse_overlapping_rebuild(tenant uuid, aggregate_type text, id integer)
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    other int := (select min(r.id) from annals.rebuilds r
                   where r.purpose = 'rebuild' and r.id <> refuse_overlapping_rebuild.id
                     and (r.status = 'running' and annals.is_rebuild_held(r.id)
                          or r.status = 'requested' and refuse_overlapping_rebuild.id = 0)
                     and (r.tenant_id is null or tenant is null or r.tenant_id = tenant)
                     and (r.aggregate_type is null or refuse_overlapping_rebuild.aggregate_type is null
                          or r.aggregate_type = refuse_overlapping_rebuild.aggregate_type));
begin
    if other is not null then
        perform annals.refuse(409, 'rebuild_running', format('rebuild %s of the same read models is still running: wait until it has ended', other));
    end if;
end
$function$;
grant execute on function annals.refuse_overlapping_rebuild(uuid,text,integer) to annals_projector;

-- Requests a rebuild of the caller's tenant's read models, or of one module of them; returns its id. Staff only.
create function annals.request_rebuild(aggregate_type text)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    tenant constant uuid := annals.caller_tenant();
    number int;
begin
    if annals.caller_role() is distinct from 'staff' then
        perform annals.refuse(403, 'staff_only', 'only staff may request a rebuild');
    end if;
    if aggregate_type is not null and not exists (
        select from annals.event_types t where t.aggregate_type = request_rebuild.aggregate_type and (t.tenant_id = tenant or t.tenant_id is null)
    ) then
        perform annals.refuse(422, 'unknown_module', 'there is no such module; GET /api/v1/events/types lists the existing ones as aggregate_type');
    end if;
    perform annals.refuse_overlapping_rebuild(tenant, aggregate_type, 0);
    -- No lock here, because a caller could hold it by leaving its transaction open. If two requests for the same read models arrive at the
    -- same moment, one waits for the other at the unique index.
    insert into annals.rebuilds (id, tenant_id, aggregate_type, status, requested_by)
    values (nextval('annals.rebuild_ids'), tenant, request_rebuild.aggregate_type, 'requested', annals.caller_actor())
    returning id into number;
    return number;
exception when unique_violation then
    perform annals.refuse(409, 'rebuild_running', 'a rebuild of the same read models has already been requested');
    return null;
end
$function$;
grant execute on function annals.request_rebuild(text) to authenticated;

-- Records that a rebuild runs, whose lock the caller holds: a new one, a requested one, or one whose process was killed.
create function annals.start_rebuild(id integer, purpose text, tenant uuid, aggregate_type text, requested_by text, held_by text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
declare
    failures int;
begin
    lock table annals_locks.rebuild_starts in exclusive mode;
    if start_rebuild.aggregate_type is not null and not exists (
        select from annals.event_types t where t.aggregate_type = start_rebuild.aggregate_type
    ) then
        perform annals.refuse(422, 'unknown_module', format('there is no module %s: no event type has it as its aggregate_type', start_rebuild.aggregate_type));
    end if;
    update annals.rebuilds r set status = 'abandoned', finished_at = clock_timestamp()
     where r.status = 'running' and not annals.is_rebuild_held(r.id);
    if start_rebuild.purpose = 'rebuild' then
        perform annals.refuse_overlapping_rebuild(start_rebuild.tenant, start_rebuild.aggregate_type, start_rebuild.id);
    end if;
    select r.attempts into failures from annals.rebuilds r
     where r.purpose = start_rebuild.purpose and r.tenant_id is not distinct from start_rebuild.tenant
       and r.aggregate_type is not distinct from start_rebuild.aggregate_type and r.started_at is not null
       and r.id = (select max(l.id) from annals.rebuilds l
                    where l.purpose = start_rebuild.purpose and l.tenant_id is not distinct from start_rebuild.tenant
                      and l.aggregate_type is not distinct from start_rebuild.aggregate_type and l.id <> start_rebuild.id)
       and r.status in ('failed', 'abandoned');
    insert into annals.rebuilds (id, attempts, tenant_id, started_at, catalog_revision, aggregate_type, purpose, status, requested_by, held_by)
    select start_rebuild.id, coalesce(failures, 0) + 1, start_rebuild.tenant, clock_timestamp(), c.revision, start_rebuild.aggregate_type,
           start_rebuild.purpose, 'running', start_rebuild.requested_by, start_rebuild.held_by
      from annals.catalog_revision c
    on conflict on constraint rebuilds_pkey do update
        set attempts = case rebuilds.status when 'requested' then excluded.attempts else rebuilds.attempts + 1 end,
            held_by = excluded.held_by, started_at = excluded.started_at, finished_at = null, catalog_revision = excluded.catalog_revision, status = 'running',
            events = 0, streams = 0
        -- A rebuild with status running is held by a live process here: the others were marked as abandoned above.
        where rebuilds.status in ('requested', 'abandoned');
    if not found then
        perform annals.refuse(409, 'rebuild_running', 'this rebuild has already been started');
    end if;
    delete from annals.rebuilds r
     where r.status in ('done', 'failed', 'abandoned') and r.id <= (select o.id from annals.rebuilds o order by o.id desc offset 1000 limit 1);
end
$function$;
grant execute on function annals.start_rebuild(integer,text,uuid,text,text,text) to annals_projector;

-- Projected streams of a scope in the order of their names, after the given one, with the version of their newest snapshot.
create function annals.list_streams_to_fold(of_tenant uuid, of_type text, after_tenant uuid, after_type text, after_id text, most bigint)
 RETURNS TABLE(tenant_id uuid, aggregate_type text, aggregate_id text, version integer, projected_version integer, last_snapshot integer)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_custom_plan'
 SET enable_sort TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
begin
    return query
    select h.tenant_id, h.aggregate_type, h.aggregate_id, h.version, h.projected_version,
           (select max(p.version) from annals.snapshots p
             where p.tenant_id = h.tenant_id and p.aggregate_type = h.aggregate_type and p.aggregate_id = h.aggregate_id)
      from annals.heads h
     where h.projected_version > 0 and (of_tenant is null or h.tenant_id = of_tenant) and (of_type is null or h.aggregate_type = of_type)
       and (after_tenant is null or (h.tenant_id, h.aggregate_type, h.aggregate_id) > (after_tenant, after_type, after_id))
     order by h.tenant_id, h.aggregate_type, h.aggregate_id limit most;
end
$function$;
grant execute on function annals.list_streams_to_fold(uuid,text,uuid,text,text,bigint) to annals_projector;

-- The events of ranges of streams, in the order of the given ranges (place, from 1), cut off at a limit of bytes, with the catalog's
-- revision.
create function annals.read_histories(tenant_ids uuid[], aggregate_types text[], aggregate_ids text[], afters integer[], uptos integer[], max_bytes bigint)
 RETURNS TABLE(place bigint, revision bigint, aggregate_version integer, event_type text, schema_version text, created_at timestamp with time zone, data text, started_by text, skipped boolean)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_memoize TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
begin
    return query
    select w.place, (select r.revision from annals.catalog_revision r where r.only_row), w.aggregate_version, w.event_type, w.version, w.created_at,
           w.data::text, case when w.aggregate_version = 1 then w.created_by end, coalesce(w.aggregate_version = any (w.versions), false)
      from (
        select u.place, e.aggregate_version, e.event_type, e.version, e.created_at, e.data, e.created_by, k.versions,
               sum(pg_column_size(e.data)::bigint * case when pg_column_compression(e.data) is null then 6 else 1530 end) over () as most_bytes
          from unnest(tenant_ids, aggregate_types, aggregate_ids, afters, uptos) with ordinality
               as u (tenant_id, aggregate_type, aggregate_id, after, upto, place)
          left join lateral (
               select array_agg(s.aggregate_version) as versions from annals.skipped_events s
                where (select exists (select from annals.skipped_events))
                  and s.tenant_id = u.tenant_id and s.aggregate_type = u.aggregate_type and s.aggregate_id = u.aggregate_id offset 0) as k on true
         cross join lateral (
               select * from annals.events e
                where e.tenant_id = u.tenant_id and e.aggregate_type = u.aggregate_type and e.aggregate_id = u.aggregate_id
                  and e.aggregate_version > u.after and e.aggregate_version <= u.upto
                order by e.aggregate_version limit u.upto) as e) as w
     where w.most_bytes < max_bytes
     order by w.place, w.aggregate_version;
    if found then
        return;
    end if;

    return query
    select w.place, w.revision, w.aggregate_version, w.event_type, w.schema_version, w.created_at, w.data, w.started_by, w.skipped
      from (
    select g.*, octet_length(g.data) as bytes, sum(octet_length(g.data)) over (order by g.place, g.aggregate_version) as running_bytes
      from (
    select s.place, s.revision, s.aggregate_version, s.event_type, s.schema_version, s.created_at, s.event_data::text as data, s.started_by, s.skipped
      from (
    select u.place, r.revision, e.aggregate_version, e.event_type, e.version as schema_version, e.created_at, e.data as event_data,
           case when e.aggregate_version = 1 then e.created_by end as started_by,
           coalesce(e.aggregate_version = any (k.versions), false) as skipped,
           pg_column_size(e.data) * case when pg_column_compression(e.data) is null then 1 else 16 end as guess,
           sum(pg_column_size(e.data) * case when pg_column_compression(e.data) is null then 1 else 16 end) over (order by u.place, e.aggregate_version) as running_guess
      from unnest(tenant_ids, aggregate_types, aggregate_ids, afters, uptos) with ordinality
           as u (tenant_id, aggregate_type, aggregate_id, after, upto, place)
     cross join lateral (
           select array_agg(s.aggregate_version) as versions from annals.skipped_events s
            where s.tenant_id = u.tenant_id and s.aggregate_type = u.aggregate_type and s.aggregate_id = u.aggregate_id offset 0) as k
     cross join lateral (
           select * from annals.events e
            where e.tenant_id = u.tenant_id and e.aggregate_type = u.aggregate_type and e.aggregate_id = u.aggregate_id
              and e.aggregate_version > u.after and e.aggregate_version <= u.upto
                order by e.aggregate_version limit u.upto) as e
     cross join (select c.revision from annals.catalog_revision c where c.only_row) as r
    ) as s where s.running_guess - s.guess < max_bytes offset 0) as g) as w
     where w.running_bytes - w.bytes < max_bytes
     order by w.place, w.aggregate_version;
end
$function$;
grant execute on function annals.read_histories(uuid[],text[],text[],integer[],integer[],bigint) to annals_projector;

-- Name of the schema of a rebuild's tables.
create function annals.shadow_schema(id integer)
 RETURNS name
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select ('annals_rebuild_' || id)::name
$function$;
grant execute on function annals.shadow_schema(integer) to annals_projector;

-- Numbers of rebuilds whose tables still exist although no process works on them: the rebuild was killed, or its tables were not dropped at
-- its end. Includes the given rebuild if such tables have its number, because it has not made its own yet.
create function annals.abandoned_shadows(id integer)
 RETURNS SETOF integer
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select s.id
      from pg_namespace n
     cross join lateral (select substr(n.nspname, 16)::int as id) as s
     where n.nspname ~ '^annals_rebuild_[0-9]{1,9}$' and (s.id = abandoned_shadows.id or not annals.is_rebuild_held(s.id))
$function$;
grant execute on function annals.abandoned_shadows(integer) to annals_projector;

-- The live tables of a rebuild, each with the name of its shadow table.
create function annals.shadow_tables(id integer)
 RETURNS TABLE(live regclass, shadow text, aggregate_type text, collection text)
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    -- Other shadow tables have the names of tables of schema public, so this name contains a dot, which those by custom do not have.
    select 'annals.entities'::regclass, format('%I.%I', annals.shadow_schema(id), 'annals.entities'), null, null
     union all
    select format('public.%I', t.table_name)::regclass, format('%I.%I', annals.shadow_schema(id), t.table_name), t.aggregate_type, t.collection
      from annals.rebuilds r
      join annals.state_tables t on r.aggregate_type is null or t.aggregate_type = r.aggregate_type
     where r.id = shadow_tables.id
$function$;
grant execute on function annals.shadow_tables(integer) to annals_projector;

-- Creates a rebuild's tables with the columns of the live ones, for the projector only.
create function annals.open_shadow(id integer)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    pair record;
    key  text;
begin
    execute format('create schema %I', annals.shadow_schema(id));
    for pair in select * from annals.shadow_tables(id) loop
        select string_agg(format('%I', a.attname), ', ' order by k.position) into strict key
          from pg_constraint c
         cross join unnest(c.conkey) with ordinality as k (attnum, position)
          join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.attnum
         where c.conrelid = pair.live and c.contype = 'p';
        execute format('create unlogged table %s (like %s including all excluding indexes excluding comments)', pair.shadow, pair.live);
        execute format('alter table %s add primary key (%s)', pair.shadow, key);
    end loop;
    execute format('grant usage on schema %I to annals_projector', annals.shadow_schema(id));
    execute format('grant select, insert, update, delete on all tables in schema %I to annals_projector', annals.shadow_schema(id));
end
$function$;
grant execute on function annals.open_shadow(integer) to annals_projector;

-- Analyzes a rebuild's tables, so that the planner knows their sizes.
create function annals.analyze_shadow(id integer)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    pair record;
begin
    for pair in select * from annals.shadow_tables(id) loop
        execute format('analyze %s', pair.shadow);
    end loop;
end
$function$;
grant execute on function annals.analyze_shadow(integer) to annals_projector;

-- Analyzes the live tables that a rebuild has exchanged, because it may have filled them from empty.
create function annals.analyze_rebuilt(id integer)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    pair record;
begin
    for pair in select * from annals.shadow_tables(id) loop
        execute format('analyze (skip_locked) %s', pair.live);
    end loop;
end
$function$;
grant execute on function annals.analyze_rebuilt(integer) to annals_projector;

-- Drops a rebuild's tables.
create function annals.drop_shadow(id integer)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    execute format('drop schema if exists %I cascade', annals.shadow_schema(id));
end
$function$;
grant execute on function annals.drop_shadow(integer) to annals_projector;

-- Upserts states of entities of one aggregate type in a rebuild's tables: as JSON, and in their state table if they have one.
create function annals.write_shadow(entities regclass, state_table regclass, aggregate_type text, tenant_ids uuid[], aggregate_ids text[], versions integer[], started_bys text[], deleted_ats timestamp with time zone[], created_ats timestamp with time zone[], updated_ats timestamp with time zone[], states jsonb[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    execute format(
        'insert into %s as t (aggregate_type, tenant_id, aggregate_id, version, started_by, deleted_at, created_at, updated_at, state)
         select $1, u.* from unnest($2, $3, $4, $5, $6, $7, $8, $9) as u
         on conflict (tenant_id, aggregate_type, aggregate_id) do update
            set version = excluded.version, started_by = excluded.started_by, deleted_at = excluded.deleted_at,
                created_at = excluded.created_at, updated_at = excluded.updated_at, state = excluded.state', entities)
    using aggregate_type, tenant_ids, aggregate_ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states;
    if state_table is not null then
        perform annals.write_states(state_table, tenant_ids, aggregate_ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states);
    end if;
end
$function$;
grant execute on function annals.write_shadow(regclass,regclass,text,uuid[],text[],integer[],text[],timestamp with time zone[],timestamp with time zone[],timestamp with time zone[],jsonb[]) to annals_projector;

-- Deletes all children of some parents from a child collection's table.
create function annals.delete_child_rows(table_name regclass, parent name, tenant_ids uuid[], parent_ids text[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    execute format('delete from %s t using unnest($1, $2) as u (tenant_id, parent_id) where t.tenant_id = u.tenant_id and t.%I = u.parent_id',
                   table_name, parent)
    using tenant_ids, parent_ids;
end
$function$;
grant execute on function annals.delete_child_rows(regclass,name,uuid[],text[]) to annals_projector;

-- Deletes from a rebuild's tables the aggregates whose fold version has changed meanwhile.
create function annals.delete_shadow_rows(id integer, tenant uuid, aggregate_type text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    pair record;
begin
    for pair in select * from annals.shadow_tables(id) as t where t.aggregate_type is null or t.aggregate_type = delete_shadow_rows.aggregate_type loop
        execute format('delete from %s s where ($1 is null or s.tenant_id = $1)%s', pair.shadow,
                       case when pair.aggregate_type is null then ' and s.aggregate_type = $2' end)
        using tenant, delete_shadow_rows.aggregate_type;
    end loop;
end
$function$;
grant execute on function annals.delete_shadow_rows(integer,uuid,text) to annals_projector;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- rebuild_exchange
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- A live table's columns (l) and those of a rebuild (s), as pieces of SQL: names, both rows, the assignments of the update, the join
-- condition, the key as JSON members, and each column with both values and whether they differ.
create function annals.exchanged_columns(live regclass, OUT names text, OUT live_row text, OUT shadow_row text, OUT updates text, OUT same_key text, OUT key text, OUT cells text)
 RETURNS record
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select string_agg(format('%I', a.attname), ', ' order by a.attnum),
           string_agg(format('l.%I', a.attname), ', ' order by a.attnum),
           string_agg(format('s.%I', a.attname), ', ' order by a.attnum),
           string_agg(format('%1$I = s.%1$I', a.attname), ', ' order by a.attnum) filter (where not k.is_key),
           string_agg(format('l.%1$I = s.%1$I', a.attname), ' and ' order by a.attnum) filter (where k.is_key),
           string_agg(format('%1$L, coalesce(l.%2$I, s.%2$I)', a.attname, a.attname), ', ' order by a.attnum) filter (where k.is_key),
           string_agg(format('(%1$L, l.%2$I::text, s.%2$I::text, row(l.%2$I)::record operator(pg_catalog.*<>) row(s.%2$I)::record)', a.attname, a.attname),
                      ', ' order by a.attnum) filter (where not k.is_key)
      from pg_attribute a
     cross join lateral (select exists (select from pg_constraint c
                                         where c.conrelid = live and c.contype = 'p' and a.attnum = any (c.conkey)) as is_key) as k
     where a.attrelid = live and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
$function$;
grant execute on function annals.exchanged_columns(regclass) to annals_projector;

-- Records that from now on a rebuild leaves out of its tables the streams whose live rows are right.
create function annals.compare_since(id integer)
 RETURNS xid8
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    update annals.rebuilds r set compared_since = pg_snapshot_xmin(pg_current_snapshot())
     where r.id = compare_since.id
    returning r.compared_since
$function$;
grant execute on function annals.compare_since(integer) to annals_projector;

-- Those entities of an aggregate type, in a range of ids, whose row in the state table is byte for byte what their state gives.
create function annals.live_entities(aggregate_type text, tenant uuid, first_id text, last_id text)
 RETURNS TABLE(id text, version integer, started_by text, deleted_at timestamp with time zone, created_at timestamp with time zone, updated_at timestamp with time zone, state text)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_nestloop TO 'off'
 SET jit TO 'off'
AS $function$
declare
    state_table constant regclass := (select format('public.%I', t.table_name) from annals.state_tables t
                                       where t.aggregate_type = live_entities.aggregate_type and t.collection is null);
    has_row     text := '';
begin
    -- If a constraint is not validated, a live row may violate it. Then every row is written again, so that PostgreSQL checks it.
    if exists (select from pg_constraint c where c.conrelid in ('annals.entities'::regclass, state_table) and not c.convalidated) then
        return;
    end if;
    if state_table is not null then
        has_row := annals.row_of_state(state_table);
    end if;
    return query execute format(
        'select u.id, u.version, u.started_by, u.deleted_at, u.created_at, u.updated_at, u.source::text
           from (select e.tenant_id, e.aggregate_id as id, e.version, e.started_by, e.deleted_at, e.created_at, e.updated_at, e.state as source
                   from annals.entities e
                  where e.aggregate_type = $1 and e.tenant_id = $2 and e.aggregate_id between $3 and $4) as u
          %s', has_row)
    using aggregate_type, tenant, first_id, last_id;
end
$function$;
grant execute on function annals.live_entities(text,uuid,text,text) to annals_projector;

-- The piece of annals.live_entities' SQL that joins a state table's row (t) if it equals what the entity's state (u) gives.
create function annals.row_of_state(state_table regclass)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    with standard as (
        select '{tenant_id,id,version,started_by,deleted_at,created_at,updated_at}'::name[] as names
    ), module as (
        select string_agg(format(', t.%I', a.attname), '' order by a.attnum) as live,
               string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' order by a.attnum)
                   filter (where a.attname::text <> all (i.names)) as definition
          from standard s
         cross join (select annals.integer_columns(state_table) as names) as i
          join pg_attribute a on a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and a.attname <> all (s.names)
         where a.attrelid = state_table
    )
    select format('join (select * from %s t where t.tenant_id = $2 and t.id between $3 and $4) as t on t.tenant_id = u.tenant_id and t.id = u.id
                   %s
                   where row(%s%s)::record operator(pg_catalog.*=) row(%s%s)::record',
                  state_table, 'cross join lateral jsonb_to_record(u.source) as s (' || m.definition || ')',
                  (select string_agg('t.' || n, ', ') from unnest(s.names) as n), m.live,
                  (select string_agg('u.' || n, ', ') from unnest(s.names) as n), c.sources)
      from standard s, module m, annals.module_columns(state_table, s.names) as c
$function$;
grant execute on function annals.row_of_state(regclass) to annals_projector;

-- Adds to a rebuild's table the rows of unchanged entities that were deleted or written manually since they were compared; returns whether
-- there are orphans, rows of no entity.
create function annals.recheck_states(live regclass, shadow regclass, tenant uuid, aggregate_type text, since xid8)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    odd record;
begin
    execute format(
        'select coalesce(bool_or(e.id is null), false) as has_orphans, array_agg(e.tenant_id) as tenant_ids, array_agg(e.id) as ids
           from (select e.tenant_id, e.aggregate_id as id from annals.entities e
                  where ($1 is null or e.tenant_id = $1) and e.aggregate_type = $2) as e
           full join (select l.tenant_id, l.id, age(l.xmin) <= age($3::xid) as is_younger from %s l
                       where $1 is null or l.tenant_id = $1) as l on l.tenant_id = e.tenant_id and l.id = e.id
          where (e.id is null or l.id is null or l.is_younger)
            and not exists (select from %s s where s.tenant_id = e.tenant_id and s.id = e.id)', live, shadow)
       into odd using tenant, aggregate_type, since;
    perform annals.write_states(shadow, array_agg(e.tenant_id), array_agg(e.aggregate_id), array_agg(e.version), array_agg(e.started_by),
                                array_agg(e.deleted_at), array_agg(e.created_at), array_agg(e.updated_at), array_agg(e.state))
       from unnest(odd.tenant_ids, odd.ids) as o (tenant_id, id)
       join annals.entities e on e.tenant_id = o.tenant_id and e.aggregate_type = recheck_states.aggregate_type and e.aggregate_id = o.id
     having count(*) > 0;
    return odd.has_orphans;
end
$function$;
grant execute on function annals.recheck_states(regclass,regclass,uuid,text,xid8) to annals_projector;

-- Whether there are live entities that belong to no stream. If so, the live entities and those that are only in a rebuild's table are
-- together more than the projected streams.
create function annals.has_orphans(shadow regclass, tenant uuid, aggregate_type text)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    missing bigint;
begin
    execute format('select count(*) from %s s where not exists (
                        select from annals.entities l
                         where l.tenant_id = s.tenant_id and l.aggregate_type = s.aggregate_type and l.aggregate_id = s.aggregate_id)', shadow)
       into missing;
    return missing + (select count(*) from annals.entities l
                       where (has_orphans.tenant is null or l.tenant_id = has_orphans.tenant)
                         and (has_orphans.aggregate_type is null or l.aggregate_type = has_orphans.aggregate_type))
           > (select count(*) from annals.heads h
               where h.projected_version > 0 and (has_orphans.tenant is null or h.tenant_id = has_orphans.tenant)
                 and (has_orphans.aggregate_type is null or h.aggregate_type = has_orphans.aggregate_type));
end
$function$;
grant execute on function annals.has_orphans(regclass,uuid,text) to annals_projector;

-- Makes a live table's rows (l) of a scope equal to a rebuild's. A row without a counterpart is deleted unless the condition unchanged is
-- true for it. Returns how many rows it changed.
create function annals.exchange_rows(live regclass, shadow regclass, tenant uuid, aggregate_type text, unchanged text)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    c       record := annals.exchanged_columns(live);
    scope   text := '($1 is null or l.tenant_id = $1)'
                    || case when live = 'annals.entities'::regclass then ' and ($2 is null or l.aggregate_type = $2)' else '' end;
    key     name := (select k.conname from pg_constraint k where k.conrelid = live and k.contype = 'p');
    differs boolean := true;
    changed bigint := 0;
    rows    bigint;
begin
    if unchanged = 'false' then
        -- All rows have counterparts. Usually nothing differs, and then one comparison is cheaper than three statements.
        execute format('select exists (select from (select * from %s l where %s) as l full join %s s on %s
                                        where row(%s)::record operator(pg_catalog.*<>) row(%s)::record)',
                       live, scope, shadow, c.same_key, c.live_row, c.shadow_row)
           into differs using tenant, aggregate_type;
    end if;
    if not differs then
        return 0;
    end if;
    if unchanged <> 'true' then
        execute format('delete from %s l where %s and not %s and not exists (select from %s s where %s)', live, scope, unchanged, shadow, c.same_key)
          using tenant, aggregate_type;
        get diagnostics rows = row_count;
        changed := changed + rows;
    end if;
    execute format('update %s l set %s from %s s where %s and row(%s)::record operator(pg_catalog.*<>) row(%s)::record',
                   live, c.updates, shadow, c.same_key, c.live_row, c.shadow_row);
    get diagnostics rows = row_count;
    changed := changed + rows;
    execute format('insert into %s (%s) select %s from %s s on conflict on constraint %I do nothing', live, c.names, c.shadow_row, shadow, key);
    get diagnostics rows = row_count;
    return changed + rows;
end
$function$;
grant execute on function annals.exchange_rows(regclass,regclass,uuid,text,text) to annals_projector;

-- Makes live tables equal to a rebuild's, while annals_locks.read_models is locked EXCLUSIVE, which keeps projectors from writing; returns
-- how many rows differed.
create function annals.exchange_read_models(id integer)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET jit TO 'off'
AS $function$
declare
    of      record;
    pair    record;
    c       record := annals.exchanged_columns('annals.entities');
    unchanged text;
    changed bigint := 0;
begin
    select r.tenant_id, r.aggregate_type, r.compared_since into strict of from annals.rebuilds r where r.id = exchange_read_models.id;
    -- Snapshots of an older fold version are deleted, and those of streams whose state was wrong, because they may have been taken from it.
    delete from annals.snapshots p
     where (of.tenant_id is null or p.tenant_id = of.tenant_id) and (of.aggregate_type is null or p.aggregate_type = of.aggregate_type)
       and p.fold_version <> annals.fold_version_of(p.tenant_id, p.aggregate_type);
    for pair in select * from annals.shadow_tables(id) as t order by t.aggregate_type nulls first loop
        unchanged := 'false';
        if pair.live = 'annals.entities'::regclass then
            execute format(
                'delete from annals.snapshots p using %s s left join annals.entities l on %s
                  where s.tenant_id = p.tenant_id and s.aggregate_type = p.aggregate_type and s.aggregate_id = p.aggregate_id
                    and (l.version is null or row(%s)::record operator(pg_catalog.*<>) row(%s)::record)',
                pair.shadow, c.same_key, c.live_row, c.shadow_row);
            if of.compared_since is not null and not annals.has_orphans(pair.shadow::regclass, of.tenant_id, of.aggregate_type) then
                unchanged := 'true';
            elsif of.compared_since is not null then
                unchanged := 'exists (select from annals.heads h where h.tenant_id = l.tenant_id and h.aggregate_type = l.aggregate_type
                                                               and h.aggregate_id = l.aggregate_id and h.projected_version > 0)';
            end if;
        elsif pair.collection is null and of.compared_since is not null then
            unchanged := case when annals.recheck_states(pair.live, pair.shadow::regclass, of.tenant_id, pair.aggregate_type, of.compared_since)
                          then format('exists (select from annals.entities e where e.tenant_id = l.tenant_id and e.aggregate_type = %L
                                                                               and e.aggregate_id = l.id)', pair.aggregate_type)
                          else 'true' end;
        end if;
        changed := changed + annals.exchange_rows(pair.live, pair.shadow::regclass, of.tenant_id, of.aggregate_type, unchanged);
    end loop;
    delete from annals.snapshots p
     where (of.tenant_id is null or p.tenant_id = of.tenant_id) and (of.aggregate_type is null or p.aggregate_type = of.aggregate_type)
       and not exists (select from annals.entities e
                        where e.tenant_id = p.tenant_id and e.aggregate_type = p.aggregate_type and e.aggregate_id = p.aggregate_id);
    return changed;
end
$function$;
grant execute on function annals.exchange_read_models(integer) to annals_projector;

-- The differences between a live table and a fold from the first event, column by column. A null column: the whole row is missing, or
-- should not exist.
create function annals.list_differences(live regclass, shadow regclass, tenant uuid, aggregate_type text)
 RETURNS TABLE(key text, column_name text, found text, expected text)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET "TimeZone" TO 'UTC'
AS $function$
declare
    c     record := annals.exchanged_columns(live);
    scope text := '($1 is null or l.tenant_id = $1)'
                  || case when live = 'annals.entities'::regclass then ' and ($2 is null or l.aggregate_type = $2)' else '' end;
begin
    return query execute format(
        'select jsonb_build_object(%1$s)::text, d.column_name, d.found, d.expected
           from (select l.*, true as is_there from %2$s l where %3$s) as l
           full join (select s.*, true as is_there from %4$s s) as s on %5$s
          cross join lateral (
                select null::text, (to_jsonb(l) - ''is_there'')::text, (to_jsonb(s) - ''is_there'')::text where l.is_there is null or s.is_there is null
                 union all
                select v.column_name, v.found, v.expected from (values %6$s) as v (column_name, found, expected, differs)
                 where l.is_there and s.is_there and v.differs) as d (column_name, found, expected)
          where (l.is_there and s.is_there) is not true or row(%7$s)::record operator(pg_catalog.*<>) row(%8$s)::record',
        c.key, live, scope, shadow, c.same_key, c.cells, c.live_row, c.shadow_row)
    using tenant, aggregate_type;
end
$function$;
grant execute on function annals.list_differences(regclass,regclass,uuid,text) to annals_projector;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- statistics
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- Events per tenant and type up to the checkpoint of the sweep.
create table annals.event_counts (
    -- Tenant.
    tenant_id uuid not null,
    -- The number of events.
    events bigint not null,
    -- The event type.
    event_type text collate "C" not null,
    constraint event_counts_pkey PRIMARY KEY (tenant_id, event_type)
);
alter table annals.event_counts enable row level security;
create policy event_counts_read on annals.event_counts for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND ( SELECT annals.caller_sees_tenant() AS caller_sees_tenant)));
create policy event_counts_project on annals.event_counts for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on annals.event_counts to annals_projector;
grant select on annals.event_counts to authenticated;

-- Events per tenant and minute of recorded time up to the checkpoint of the sweep. The sweep deletes minutes that are more than 25 hours
-- old: readers ask for the last 24 hours.
create table annals.event_rates (
    -- Tenant.
    tenant_id uuid not null,
    -- Begin of the minute, UTC.
    minute timestamp with time zone not null,
    -- The number of events recorded within it.
    events bigint not null,
    constraint event_rates_minute CHECK ((minute = date_trunc('minute'::text, minute, 'UTC'::text))),
    constraint event_rates_events CHECK ((events > 0)),
    constraint event_rates_pkey PRIMARY KEY (tenant_id, minute)
);
CREATE INDEX event_rates_by_minute ON annals.event_rates USING btree (minute);
alter table annals.event_rates enable row level security;
create policy event_rates_read on annals.event_rates for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND ( SELECT annals.caller_sees_tenant() AS caller_sees_tenant)));
create policy event_rates_project on annals.event_rates for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on annals.event_rates to annals_projector;
grant select on annals.event_rates to authenticated;

-- How many times reads of a tenant used a snapshot, and how many events they upcast. A crash of the server may lose the counts of the last
-- moment.
create table annals.usage_counts (
    -- Tenant.
    tenant_id uuid not null,
    -- The count of this shard; the figure is the sum over the shards.
    uses bigint not null,
    -- Number of the shard: process id of the server process, modulo 16.
    shard smallint not null,
    -- snapshot_hit: a state was folded from a snapshot on; snapshot_miss: there was no snapshot; snapshot_corrupt: a snapshot did not match
    -- its digest; upcast: an event was upcast; upcast_failed: no upcaster led to its current version.
    name text collate "C" not null,
    constraint usage_counts_name CHECK ((name = ANY (ARRAY['snapshot_hit'::text, 'snapshot_miss'::text, 'snapshot_corrupt'::text, 'upcast'::text, 'upcast_failed'::text]))),
    constraint usage_counts_shard CHECK (((shard >= 0) AND (shard <= 15))),
    constraint usage_counts_uses CHECK ((uses > 0)),
    constraint usage_counts_pkey PRIMARY KEY (tenant_id, name, shard)
) with (fillfactor=50);
alter table annals.usage_counts enable row level security;
create policy usage_counts_read on annals.usage_counts for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND ( SELECT annals.caller_sees_tenant() AS caller_sees_tenant)));
create policy usage_counts_project on annals.usage_counts for all to annals_projector using (true) with check (true);
grant select, insert, update on annals.usage_counts to annals_projector;
grant select on annals.usage_counts to authenticated;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- event_minutes
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- Minutes in which events of a tenant were recorded, up to the position in annals.noted_events. The sweep fills it in the order of event
-- numbers; no append writes here.
create table annals.event_minutes (
    -- Tenant.
    tenant_id uuid not null,
    -- Begin of the minute, UTC.
    minute timestamp with time zone not null,
    -- No event recorded in this minute or later has a lower number.
    first_number bigint not null,
    -- No event recorded in this minute or earlier has a higher number.
    last_number bigint not null,
    constraint event_minutes_minute CHECK ((minute = date_trunc('minute'::text, minute, 'UTC'::text))),
    constraint event_minutes_pkey PRIMARY KEY (tenant_id, minute)
);
alter table annals.event_minutes enable row level security;
create policy event_minutes_read on annals.event_minutes for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND ( SELECT annals.caller_sees_tenant() AS caller_sees_tenant)));
create policy event_minutes_project on annals.event_minutes for all to annals_projector using (true) with check (true);
grant select, insert, update on annals.event_minutes to annals_projector;
grant select on annals.event_minutes to authenticated;

-- One row: up to which event number annals.event_minutes is filled.
create table annals.noted_events (
    -- Every event with this number or a lower one is included.
    "position" bigint not null,
    -- Always true, so there is only one row.
    only_row boolean not null default true,
    constraint noted_events_only_row CHECK (only_row),
    constraint noted_events_pkey PRIMARY KEY (only_row)
);
alter table annals.noted_events enable row level security;
create policy noted_events_read on annals.noted_events for select to authenticated using (true);
create policy noted_events_project on annals.noted_events for all to annals_projector using (true) with check (true);
grant select, update on annals.noted_events to annals_projector;
grant select on annals.noted_events to authenticated;

-- Adds the minutes of the event numbers in (from, to]. Does nothing unless from is the current position.
create function annals.note_minutes(from_number bigint, to_number bigint)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    -- A concurrent call for the same range waits here, and then finds that the position has moved.
    update annals.noted_events set position = to_number where position = from_number;
    if not found then
        return;
    end if;
    -- The new numbers are higher than all before, so first_number of an existing minute stays. A minute that is new to the table may be
    -- earlier than existing ones, if the clock was set back.
    insert into annals.event_minutes as m (tenant_id, minute, first_number, last_number)
    select n.tenant_id, n.minute,
           least(min(n.first_number) over (partition by n.tenant_id order by n.minute desc),
                 (select l.first_number from annals.event_minutes l
                   where l.tenant_id = n.tenant_id and l.minute > n.minute order by l.minute limit 1)),
           max(n.last_number) over (partition by n.tenant_id order by n.minute)
      from (select e.tenant_id, date_trunc('minute', e.created_at, 'UTC') as minute, min(e.event_number) as first_number, max(e.event_number) as last_number
              from annals.events e where e.event_number > from_number and e.event_number <= to_number
             group by 1, 2) as n
    on conflict on constraint event_minutes_pkey do update set last_number = excluded.last_number;
    -- Existing minutes that are later than one of these: there are some only if the clock was set back.
    update annals.event_minutes l set last_number = n.last_number
      from (select m.tenant_id, m.minute, max(m.last_number) over (partition by m.tenant_id order by m.minute) as last_number
              from (select e.tenant_id, min(date_trunc('minute', e.created_at, 'UTC')) as first_minute
                      from annals.events e where e.event_number > from_number and e.event_number <= to_number
                     group by 1) as w
              join annals.event_minutes m on m.tenant_id = w.tenant_id and m.minute >= w.first_minute) as n
     where l.tenant_id = n.tenant_id and l.minute = n.minute and l.last_number < n.last_number;
end
$function$;
grant execute on function annals.note_minutes(bigint,bigint) to annals_projector;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- key_figures
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- Source of annals.kpi_changes.id.
-- sequence annals.kpi_changes_id_seq belongs to an identity column
grant usage on sequence annals.kpi_changes_id_seq to annals_projector;

-- Changes of sales and expenses that are not yet in the figures. Triggers insert them; annals.apply_kpi_changes deletes them.
create table annals.kpi_changes (
    -- In the order in which the changes of one sale were made. Both rows of one change have the same number, so a batch, which is cut by
    -- numbers, contains both.
    id bigint not null generated by default as identity,
    -- Tenant.
    tenant_id uuid not null,
    -- When the transaction began that recorded it: how far figures lag.
    changed_at timestamp with time zone not null default now(),
    -- Recorded time of the event that caused the change.
    caused_at timestamp with time zone not null,
    -- Amount of the sale or expense, in minor units of the currency.
    amount_cents bigint not null,
    -- Day of the sale or expense.
    day date not null,
    -- Version of the event that caused the change.
    cause_version integer not null,
    -- 1: it counts from now on; -1: it no longer counts.
    sign smallint not null,
    -- sale or expense: the aggregate type.
    source text collate "C" not null,
    -- Currency of the amount.
    currency text collate "C" not null,
    -- Id of the sale or expense.
    cause_id text collate "C" not null,
    -- A sale's product, shortened by annals.kpi_name.
    product text collate "C",
    -- A sale's customer, shortened by annals.kpi_name.
    customer text collate "C",
    -- An expense's category, shortened by annals.kpi_name; empty if it has none.
    category text collate "C",
    constraint kpi_changes_sign CHECK ((sign = ANY (ARRAY['-1'::integer, 1]))),
    constraint kpi_changes_source CHECK ((source = ANY (ARRAY['sale'::text, 'expense'::text]))),
    constraint kpi_changes_pkey PRIMARY KEY (tenant_id, id, sign)
);
alter table annals.kpi_changes enable row level security;
create policy kpi_changes_read on annals.kpi_changes for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND ( SELECT annals.caller_sees_tenant() AS caller_sees_tenant)));
create policy kpi_changes_project on annals.kpi_changes for all to annals_projector using (true) with check (true);
grant select, insert, delete on annals.kpi_changes to annals_projector;
grant select on annals.kpi_changes to authenticated;

-- Figures of days, by currency. A day that has no sales and expenses any more stays, with zeros, because it may have to be announced.
create table annals.kpi_days (
    -- Tenant.
    tenant_id uuid not null,
    -- Recorded time of the last event that changed the figures.
    caused_at timestamp with time zone not null,
    -- Raised by each change.
    changes bigint not null,
    -- The day.
    day date not null,
    -- Version of the last event that changed the figures.
    cause_version integer not null,
    -- Whether the figures have changed since they were announced (kpi.calculated). They are announced when the day is over.
    is_due boolean not null,
    -- Currency.
    currency text collate "C" not null,
    -- Aggregate type of the last event that changed the figures.
    cause_type text collate "C" not null,
    -- Id of that aggregate.
    cause_id text collate "C" not null,
    -- Sum of positive amounts of sales, in minor units of the currency.
    revenue_cents numeric not null,
    -- Sum of negative amounts of sales, as a positive number.
    refunds_cents numeric not null,
    -- Number of sales, including refunds.
    sales_count numeric not null,
    -- Sum of amounts of expenses.
    expenses_cents numeric not null,
    -- Number of expenses.
    expenses_count numeric not null,
    -- Number of customers whose first sale in this currency was on this day.
    new_customers bigint not null default 0,
    -- Number of customers with a sale in this currency on this day.
    active_customers bigint not null default 0,
    -- If is_due: when they first changed after they were announced. A correction is announced only some minutes later.
    due_since timestamp with time zone not null default now(),
    constraint kpi_days_pkey PRIMARY KEY (tenant_id, day, currency)
) with (fillfactor=50);
CREATE INDEX kpi_days_due ON annals.kpi_days USING btree (tenant_id, day, currency) WHERE is_due;
alter table annals.kpi_days enable row level security;
create policy kpi_days_read on annals.kpi_days for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND ( SELECT annals.caller_sees_tenant() AS caller_sees_tenant)));
create policy kpi_days_project on annals.kpi_days for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on annals.kpi_days to annals_projector;
grant select on annals.kpi_days to authenticated;

-- Sales by product and by customer, expenses by category, each by day, by month and by year.
create table annals.kpi_names (
    -- Tenant.
    tenant_id uuid not null,
    -- The day, or the first day of the month or year.
    period date not null,
    -- product, customer or category.
    kind text collate "C" not null,
    -- day, month or year: a sum over ten years reads ten rows of a product, not 3,650.
    span text collate "C" not null,
    -- Currency.
    currency text collate "C" not null,
    -- Name of the product, customer or category, shortened by annals.kpi_name.
    name text collate "C" not null,
    -- Sum of positive amounts.
    positive_cents numeric not null,
    -- Sum of negative amounts, as a positive number.
    negative_cents numeric not null,
    -- Number of sales, or of expenses.
    entries numeric not null,
    constraint kpi_names_kind CHECK ((kind = ANY (ARRAY['product'::text, 'customer'::text, 'category'::text]))),
    constraint kpi_names_span CHECK ((span = ANY (ARRAY['day'::text, 'month'::text, 'year'::text]))),
    constraint kpi_names_pkey PRIMARY KEY (tenant_id, kind, span, currency, period, name)
) with (fillfactor=80);
CREATE INDEX kpi_names_of_customers ON annals.kpi_names USING btree (tenant_id, currency, name, period) WHERE ((kind = 'customer'::text) AND (span = 'day'::text));
alter table annals.kpi_names enable row level security;
create policy kpi_names_read on annals.kpi_names for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND ( SELECT annals.caller_sees_tenant() AS caller_sees_tenant)));
create policy kpi_names_project on annals.kpi_names for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on annals.kpi_names to annals_projector;
grant select on annals.kpi_names to authenticated;

-- Repeat customers: customers who bought on a day, by the day of their previous purchase in that currency.
create table annals.kpi_repeat_customers (
    -- Tenant.
    tenant_id uuid not null,
    -- Number of customers.
    customers bigint not null,
    -- Day on which they bought.
    day date not null,
    -- Day of their previous purchase; -infinity: none, they were new.
    previous_day date not null,
    -- Currency.
    currency text collate "C" not null,
    constraint kpi_repeat_customers_pkey PRIMARY KEY (tenant_id, day, currency, previous_day)
) with (fillfactor=80);
alter table annals.kpi_repeat_customers enable row level security;
create policy kpi_repeat_customers_read on annals.kpi_repeat_customers for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND ( SELECT annals.caller_sees_tenant() AS caller_sees_tenant)));
create policy kpi_repeat_customers_project on annals.kpi_repeat_customers for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on annals.kpi_repeat_customers to annals_projector;
grant select on annals.kpi_repeat_customers to authenticated;

-- Applying changes locks it ROW EXCLUSIVE, and the tenant's row in annals_locks.kpi_tenants. A repair locks it EXCLUSIVE.
create table annals_locks.kpis ();
grant update on annals_locks.kpis to annals_projector;

-- A row per tenant. Applying the tenant's changes locks it.
create table annals_locks.kpi_tenants (
    tenant_id uuid not null,
    constraint kpi_tenants_pkey PRIMARY KEY (tenant_id)
);
grant select, insert, update on annals_locks.kpi_tenants to annals_projector;

-- Key figures of days, by currency. Staff and services see those of their tenant.
--   tenant_id: Tenant.
--   day: The day.
--   currency: Currency; amounts are in its minor units.
--   revenue_cents: Sum of positive amounts of sales.
--   refunds_cents: Sum of negative amounts of sales, as a positive number.
--   net_cents: Revenue minus refunds.
--   sales_count: Number of sales, including refunds.
--   average_sale_cents: Net amount divided by the number of sales, in whole minor units, halves away from zero; null without sales.
--   expenses_cents: Sum of amounts of expenses.
--   expenses_count: Number of expenses.
--   profit_cents: Net amount minus expenses.
--   new_customers: Number of customers whose first sale in this currency was on this day.
--   active_customers: Number of customers with a sale in this currency on this day.
create view public.kpi_days with (security_invoker = true) as
    select d.tenant_id, d.day, d.currency, d.revenue_cents, d.refunds_cents, d.revenue_cents - d.refunds_cents as net_cents, d.sales_count,
           round((d.revenue_cents - d.refunds_cents) / nullif(d.sales_count, 0)) as average_sale_cents, d.expenses_cents, d.expenses_count,
           d.revenue_cents - d.refunds_cents - d.expenses_cents as profit_cents, d.new_customers::numeric, d.active_customers::numeric
      from annals.kpi_days d
     where d.sales_count > 0 or d.expenses_count > 0;
grant select on public.kpi_days to authenticated;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- key_figure_changes
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- The name that figures use: the name itself, or, if it has more than 500 bytes, its first 100 characters and its digest.
create function annals.kpi_name(given text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select case when octet_length(given) <= 500 then given
                else left(given, 100) || ' #' || encode(sha256(convert_to(given, 'UTF8')), 'hex') end
$function$;
grant execute on function annals.kpi_name(text) to annals_projector;

-- The condition for a sale or an expense to count: alias of its row and name of its date column.
create function annals.kpi_counts(alias text, day text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select format('%1$s.deleted_at is null and %1$s.amount_cents is not null and %1$s.currency is not null and %1$s.%2$I between ''0001-01-01'' and ''9999-12-31''',
                  alias, day)
$function$;
grant execute on function annals.kpi_counts(text,text) to annals_projector;

-- Trigger: records what a statement has changed in sales.
create function annals.record_sale_changes()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    if tg_op = 'INSERT' then
        if not exists (select from new_rows) then
            return null;
        end if;
        insert into annals.kpi_changes (tenant_id, sign, source, day, currency, amount_cents, product, customer, cause_id, cause_version,
                                        caused_at)
        select c.tenant_id, 1, 'sale', c.sale_date, c.currency, c.amount_cents,
               case when octet_length(c.product) > 500 then annals.kpi_name(c.product) else c.product end,
               case when octet_length(c.customer_id) > 500 then annals.kpi_name(c.customer_id) else c.customer_id end, c.id,
               c.version, c.updated_at
          from new_rows c
         where c.deleted_at is null and c.amount_cents is not null and c.currency is not null
           and c.sale_date between '0001-01-01' and '9999-12-31';
    elsif tg_op = 'DELETE' then
        insert into annals.kpi_changes (tenant_id, sign, source, day, currency, amount_cents, product, customer, cause_id, cause_version,
                                        caused_at)
        select c.tenant_id, -1, 'sale', c.sale_date, c.currency, c.amount_cents,
               case when octet_length(c.product) > 500 then annals.kpi_name(c.product) else c.product end,
               case when octet_length(c.customer_id) > 500 then annals.kpi_name(c.customer_id) else c.customer_id end, c.id,
               c.version, c.updated_at
          from old_rows c
         where c.deleted_at is null and c.amount_cents is not null and c.currency is not null
           and c.sale_date between '0001-01-01' and '9999-12-31';
    elsif exists (select from new_rows) then
        insert into annals.kpi_changes (id, tenant_id, sign, source, day, currency, amount_cents, product, customer, cause_id, cause_version,
                                        caused_at)
        select p.number, case s.sign when 1 then p.new_tenant_id else p.old_tenant_id end, s.sign, 'sale',
               case s.sign when 1 then p.new_day else p.old_day end, case s.sign when 1 then p.new_currency else p.old_currency end,
               case s.sign when 1 then p.new_amount_cents else p.old_amount_cents end,
               case s.sign when 1 then p.new_product else p.old_product end,
               case s.sign when 1 then p.new_customer else p.old_customer end,
               case s.sign when 1 then p.new_id else p.old_id end, p.version, p.updated_at
          from (select nextval('annals.kpi_changes_id_seq') as number, coalesce(n.version, o.version) as version,
                       coalesce(n.updated_at, o.updated_at) as updated_at,
                       o.tenant_id as old_tenant_id, n.tenant_id as new_tenant_id,
                       o.id as old_id, n.id as new_id,
                       o.sale_date as old_day, n.sale_date as new_day,
                       o.currency as old_currency, n.currency as new_currency,
                       o.amount_cents as old_amount_cents, n.amount_cents as new_amount_cents,
                       case when octet_length(o.product) > 500 then annals.kpi_name(o.product) else o.product end as old_product,
                       case when octet_length(n.product) > 500 then annals.kpi_name(n.product) else n.product end as new_product,
                       case when octet_length(o.customer_id) > 500 then annals.kpi_name(o.customer_id) else o.customer_id end as old_customer,
                       case when octet_length(n.customer_id) > 500 then annals.kpi_name(n.customer_id) else n.customer_id end as new_customer,
                       o.deleted_at is null and o.amount_cents is not null and o.currency is not null
                       and o.sale_date between '0001-01-01' and '9999-12-31' as old_counts,
                       n.deleted_at is null and n.amount_cents is not null and n.currency is not null
                       and n.sale_date between '0001-01-01' and '9999-12-31' as new_counts
                  from old_rows o
                  full join new_rows n on n.tenant_id = o.tenant_id and n.id = o.id
                 where (o.sale_date, o.currency, o.amount_cents, o.product, o.customer_id, o.deleted_at is null)
                       is distinct from (n.sale_date, n.currency, n.amount_cents, n.product, n.customer_id, n.deleted_at is null)
                offset 0) as p
         cross join (values (-1), (1)) as s (sign)
         where case s.sign when 1 then p.new_counts else p.old_counts end;
    end if;
    return null;
end
$function$;

-- Trigger: records what a statement has changed in expenses.
create function annals.record_expense_changes()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    if tg_op = 'INSERT' then
        if not exists (select from new_rows) then
            return null;
        end if;
        insert into annals.kpi_changes (tenant_id, sign, source, day, currency, amount_cents, category, cause_id, cause_version, caused_at)
        select c.tenant_id, 1, 'expense', c.expense_date, c.currency, c.amount_cents,
               case when octet_length(c.category) > 500 then annals.kpi_name(c.category) else coalesce(c.category, '') end, c.id,
               c.version, c.updated_at
          from new_rows c
         where c.deleted_at is null and c.amount_cents is not null and c.currency is not null
           and c.expense_date between '0001-01-01' and '9999-12-31';
    elsif tg_op = 'DELETE' then
        insert into annals.kpi_changes (tenant_id, sign, source, day, currency, amount_cents, category, cause_id, cause_version, caused_at)
        select c.tenant_id, -1, 'expense', c.expense_date, c.currency, c.amount_cents,
               case when octet_length(c.category) > 500 then annals.kpi_name(c.category) else coalesce(c.category, '') end, c.id,
               c.version, c.updated_at
          from old_rows c
         where c.deleted_at is null and c.amount_cents is not null and c.currency is not null
           and c.expense_date between '0001-01-01' and '9999-12-31';
    elsif exists (select from new_rows) then
        insert into annals.kpi_changes (id, tenant_id, sign, source, day, currency, amount_cents, category, cause_id, cause_version,
                                        caused_at)
        select p.number, case s.sign when 1 then p.new_tenant_id else p.old_tenant_id end, s.sign, 'expense',
               case s.sign when 1 then p.new_day else p.old_day end, case s.sign when 1 then p.new_currency else p.old_currency end,
               case s.sign when 1 then p.new_amount_cents else p.old_amount_cents end,
               case s.sign when 1 then p.new_category else p.old_category end,
               case s.sign when 1 then p.new_id else p.old_id end, p.version, p.updated_at
          from (select nextval('annals.kpi_changes_id_seq') as number, coalesce(n.version, o.version) as version,
                       coalesce(n.updated_at, o.updated_at) as updated_at,
                       o.tenant_id as old_tenant_id, n.tenant_id as new_tenant_id,
                       o.id as old_id, n.id as new_id,
                       o.expense_date as old_day, n.expense_date as new_day,
                       o.currency as old_currency, n.currency as new_currency,
                       o.amount_cents as old_amount_cents, n.amount_cents as new_amount_cents,
                       case when octet_length(o.category) > 500 then annals.kpi_name(o.category) else coalesce(o.category, '') end as old_category,
                       case when octet_length(n.category) > 500 then annals.kpi_name(n.category) else coalesce(n.category, '') end as new_category,
                       o.deleted_at is null and o.amount_cents is not null and o.currency is not null
                       and o.expense_date between '0001-01-01' and '9999-12-31' as old_counts,
                       n.deleted_at is null and n.amount_cents is not null and n.currency is not null
                       and n.expense_date between '0001-01-01' and '9999-12-31' as new_counts
                  from old_rows o
                  full join new_rows n on n.tenant_id = o.tenant_id and n.id = o.id
                 where (o.expense_date, o.currency, o.amount_cents, o.category, o.deleted_at is null)
                       is distinct from (n.expense_date, n.currency, n.amount_cents, n.category, n.deleted_at is null)
                offset 0) as p
         cross join (values (-1), (1)) as s (sign)
         where case s.sign when 1 then p.new_counts else p.old_counts end;
    end if;
    return null;
end
$function$;

-- Adds changes to a tenant's figures of days, except the numbers of customers.
create function annals.apply_kpi_days(tenant uuid, taken annals.kpi_changes[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_custom_plan'
 SET work_mem TO '64MB'
 SET jit TO 'off'
AS $function$
begin
    -- The changes of one sale are added first. If they amount to nothing (it was created and deleted again, say), nothing is announced.
    with nets as materialized (
        select t.currency, t.day, t.source, t.cause_id, max(t.cause_version) as cause_version, max(t.caused_at) as caused_at, max(t.id) as id,
               coalesce(sum(t.amount_cents) filter (where t.sign = 1 and t.amount_cents > 0), 0)
               - coalesce(sum(t.amount_cents) filter (where t.sign = -1 and t.amount_cents > 0), 0) as positive,
               coalesce(sum(t.amount_cents) filter (where t.sign = -1 and t.amount_cents < 0), 0)
               - coalesce(sum(t.amount_cents) filter (where t.sign = 1 and t.amount_cents < 0), 0) as negative,
               sum(t.sign) as entries
          from unnest(apply_kpi_days.taken) as t
         group by 1, 2, 3, 4
    ), effective as materialized (
        select n.* from nets n where n.positive <> 0 or n.negative <> 0 or n.entries <> 0
    ), sums as (
        select e.currency, e.day, coalesce(sum(e.positive) filter (where e.source = 'sale'), 0) as revenue_cents,
               coalesce(sum(e.negative) filter (where e.source = 'sale'), 0) as refunds_cents,
               coalesce(sum(e.entries) filter (where e.source = 'sale'), 0) as sales_count,
               coalesce(sum(e.positive - e.negative) filter (where e.source = 'expense'), 0) as expenses_cents,
               coalesce(sum(e.entries) filter (where e.source = 'expense'), 0) as expenses_count
          from effective e
         group by 1, 2
    ), causes as (
        select distinct on (e.currency, e.day) e.currency, e.day, e.source, e.cause_id, e.cause_version, e.caused_at
          from effective e
         order by e.currency, e.day, e.caused_at desc, e.id desc
    )
    insert into annals.kpi_days as d (tenant_id, day, currency, revenue_cents, refunds_cents, sales_count, expenses_cents, expenses_count,
                                      cause_type, cause_id, cause_version, caused_at, changes, is_due)
    select apply_kpi_days.tenant, s.day, s.currency, s.revenue_cents, s.refunds_cents, s.sales_count, s.expenses_cents, s.expenses_count,
           c.source, c.cause_id, c.cause_version, c.caused_at, 1, true
      from sums s
      join causes c on c.currency = s.currency and c.day = s.day
    on conflict on constraint kpi_days_pkey do update
        set revenue_cents = d.revenue_cents + excluded.revenue_cents, refunds_cents = d.refunds_cents + excluded.refunds_cents,
            sales_count = d.sales_count + excluded.sales_count, expenses_cents = d.expenses_cents + excluded.expenses_cents,
            expenses_count = d.expenses_count + excluded.expenses_count, changes = d.changes + 1, is_due = true,
            due_since = case when d.is_due then d.due_since else excluded.due_since end,
            caused_at = greatest(d.caused_at, excluded.caused_at),
            cause_type = case when excluded.caused_at >= d.caused_at then excluded.cause_type else d.cause_type end,
            cause_id = case when excluded.caused_at >= d.caused_at then excluded.cause_id else d.cause_id end,
            cause_version = case when excluded.caused_at >= d.caused_at then excluded.cause_version else d.cause_version end;
end
$function$;
grant execute on function annals.apply_kpi_days(uuid,annals.kpi_changes[]) to annals_projector;

-- Adds changes to a tenant's figures of products, customers and categories.
create function annals.apply_kpi_names(tenant uuid, taken annals.kpi_changes[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_custom_plan'
 SET work_mem TO '64MB'
 SET jit TO 'off'
AS $function$
declare
    emptied annals.kpi_names[];
begin
    with days as materialized (
        select t.kind, t.currency, t.name, t.day,
               coalesce(sum(t.amount_cents) filter (where t.sign = 1 and t.amount_cents > 0), 0)
               - coalesce(sum(t.amount_cents) filter (where t.sign = -1 and t.amount_cents > 0), 0) as positive,
               coalesce(sum(t.amount_cents) filter (where t.sign = -1 and t.amount_cents < 0), 0)
               - coalesce(sum(t.amount_cents) filter (where t.sign = 1 and t.amount_cents < 0), 0) as negative,
               sum(t.sign) as entries
          from (select 'product' as kind, u.product as name, u.currency, u.day, u.amount_cents, u.sign
                  from unnest(apply_kpi_names.taken) as u where u.product is not null
                 union all
                select 'customer', u.customer, u.currency, u.day, u.amount_cents, u.sign
                  from unnest(apply_kpi_names.taken) as u where u.customer is not null
                 union all
                select 'category', u.category, u.currency, u.day, u.amount_cents, u.sign
                  from unnest(apply_kpi_names.taken) as u where u.category is not null) as t
         group by 1, 2, 3, 4
    ), months as materialized (
        select d.kind, d.currency, d.name, date_trunc('month', d.day::timestamp)::date as month, sum(d.positive) as positive,
               sum(d.negative) as negative, sum(d.entries) as entries
          from days d
         group by 1, 2, 3, 4
    ), spans as (
        select d.kind, 'day' as span, d.currency, d.day as period, d.name, d.positive, d.negative, d.entries from days d
         union all
        select m.kind, 'month', m.currency, m.month, m.name, m.positive, m.negative, m.entries from months m
         union all
        select m.kind, 'year', m.currency, date_trunc('year', m.month::timestamp)::date, m.name, sum(m.positive), sum(m.negative), sum(m.entries)
          from months m
         group by 1, 3, 4, 5
    ), written as (
        insert into annals.kpi_names as n (tenant_id, kind, span, currency, period, name, positive_cents, negative_cents, entries)
        select apply_kpi_names.tenant, s.kind, s.span, s.currency, s.period, s.name, s.positive, s.negative, s.entries
          from spans s
         where s.positive <> 0 or s.negative <> 0 or s.entries <> 0
         order by s.kind, s.span, s.currency, s.period, s.name collate "C"
        on conflict on constraint kpi_names_pkey do update
            set positive_cents = n.positive_cents + excluded.positive_cents, negative_cents = n.negative_cents + excluded.negative_cents,
                entries = n.entries + excluded.entries
        returning n.*
    )
    select array_agg(row(w.*)::annals.kpi_names) into emptied
      from written w
     where w.entries = 0 and w.positive_cents = 0 and w.negative_cents = 0;
    delete from annals.kpi_names n
     using unnest(emptied) as e
     where n.tenant_id = e.tenant_id and n.kind = e.kind and n.span = e.span and n.currency = e.currency and n.period = e.period
       and n.name = e.name;
end
$function$;
grant execute on function annals.apply_kpi_names(uuid,annals.kpi_changes[]) to annals_projector;

-- Adds changes to a tenant's repeat customers, and to the numbers of customers of days.
create function annals.apply_kpi_repeat_customers(tenant uuid, taken annals.kpi_changes[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_custom_plan'
 SET work_mem TO '64MB'
 SET jit TO 'off'
AS $function$
declare
    emptied annals.kpi_repeat_customers[];
begin
    with deltas as materialized (
        select t.currency, t.customer as name, t.day, sum(t.sign) as entries, max(t.caused_at) as caused_at, max(t.id) as id
          from unnest(apply_kpi_repeat_customers.taken) as t
         where t.source = 'sale' and t.customer is not null
         group by 1, 2, 3
        having sum(t.sign) <> 0
    ), touched as materialized (
        select d.currency, d.name, max(d.caused_at) as caused_at, max(d.id) as id from deltas d group by 1, 2
    ), bought as (
        select h.currency, h.name, h.day, sum(h.entries_before) > 0 as before, sum(h.entries_now) > 0 as now
          from (select n.currency, n.name, n.period as day, n.entries as entries_before, n.entries as entries_now
                  from touched t
                  join annals.kpi_names n on n.tenant_id = apply_kpi_repeat_customers.tenant and n.kind = 'customer' and n.span = 'day'
                                         and n.currency = t.currency and n.name = t.name
                 union all
                select d.currency, d.name, d.day, -d.entries, 0 from deltas d) as h
         group by 1, 2, 3
    ), followed as (
        select b.currency, b.name, b.day, b.before, b.now,
               coalesce(max(b.day) filter (where b.before) over earlier, '-infinity') as previous_before,
               coalesce(max(b.day) filter (where b.now) over earlier, '-infinity') as previous_now
          from bought b
        window earlier as (partition by b.currency, b.name order by b.day rows between unbounded preceding and 1 preceding)
    ), changed as materialized (
        select f.* from followed f where f.before <> f.now or (f.now and f.previous_before <> f.previous_now)
    ), moves as materialized (
        select m.day, m.currency, m.previous_day, sum(m.customers) as customers
          from (select c.day, c.currency, c.previous_before as previous_day, -1 as customers from changed c where c.before
                 union all
                select c.day, c.currency, c.previous_now, 1 from changed c where c.now) as m
         group by 1, 2, 3
        having sum(m.customers) <> 0
    ), written as (
        insert into annals.kpi_repeat_customers as r (tenant_id, day, currency, previous_day, customers)
        select apply_kpi_repeat_customers.tenant, m.day, m.currency, m.previous_day, m.customers from moves m order by m.day, m.currency, m.previous_day
        on conflict on constraint kpi_repeat_customers_pkey do update set customers = r.customers + excluded.customers
        returning r.*
    ), days as (
        select m.day, m.currency, coalesce(sum(m.customers) filter (where m.previous_day = '-infinity'), 0) as new_customers,
               sum(m.customers) as active_customers
          from moves m
         group by 1, 2
    ), lasts as (
        -- The cause of a day's change is a sale of that day. For a day without changed sales it is the customer's last changed sale.
        select distinct on (c.day, c.currency) c.day, c.currency, coalesce(d.id, t.id) as id
          from changed c
          join touched t on t.currency = c.currency and t.name = c.name
          left join deltas d on d.currency = c.currency and d.name = c.name and d.day = c.day
         order by c.day, c.currency, coalesce(d.caused_at, t.caused_at) desc, coalesce(d.id, t.id) desc
    ), updated as (
        update annals.kpi_days d
           set new_customers = d.new_customers + s.new_customers, active_customers = d.active_customers + s.active_customers,
               changes = d.changes + 1, is_due = true, due_since = case when d.is_due then d.due_since else now() end,
               caused_at = greatest(d.caused_at, c.caused_at),
               cause_type = case when c.caused_at >= d.caused_at then c.source else d.cause_type end,
               cause_id = case when c.caused_at >= d.caused_at then c.cause_id else d.cause_id end,
               cause_version = case when c.caused_at >= d.caused_at then c.cause_version else d.cause_version end
          from days s
          join lasts l on l.day = s.day and l.currency = s.currency
          -- Both rows of a change have the same cause.
          join (select distinct on (t.id) t.* from unnest(apply_kpi_repeat_customers.taken) as t order by t.id) as c on c.id = l.id
         where (s.new_customers <> 0 or s.active_customers <> 0)
           and d.tenant_id = apply_kpi_repeat_customers.tenant and d.currency = s.currency and d.day = s.day
    )
    select array_agg(row(w.*)::annals.kpi_repeat_customers) into emptied from written w where w.customers = 0;
    delete from annals.kpi_repeat_customers r
     using unnest(emptied) as e
     where r.tenant_id = e.tenant_id and r.day = e.day and r.currency = e.currency and r.previous_day = e.previous_day;
end
$function$;
grant execute on function annals.apply_kpi_repeat_customers(uuid,annals.kpi_changes[]) to annals_projector;

-- Applies a tenant's recorded changes to the figures, up to the given number of rows or one more. Returns how many: 0, none is left; null,
-- another process is applying this tenant's changes.
create function annals.apply_kpi_changes(tenant uuid, most integer)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    upper bigint;
    taken annals.kpi_changes[];
begin
    begin
        lock table annals_locks.kpis in row exclusive mode nowait;
    exception when lock_not_available then
        return null;
    end;
    -- This does not wait, except the first time for a tenant: then one of two concurrent calls waits for the insert of the other.
    if not exists (select from annals_locks.kpi_tenants t where t.tenant_id = apply_kpi_changes.tenant) then
        insert into annals_locks.kpi_tenants (tenant_id) values (apply_kpi_changes.tenant) on conflict on constraint kpi_tenants_pkey do nothing;
    end if;
    perform from annals_locks.kpi_tenants t where t.tenant_id = apply_kpi_changes.tenant for update skip locked;
    if not found then
        return null;
    end if;
    select max(c.id) into upper
      from (select k.id from annals.kpi_changes k where k.tenant_id = apply_kpi_changes.tenant order by k.id limit most) as c;
    -- One statement, because a slow transaction may commit lower numbers at any moment.
    with gone as (
        delete from annals.kpi_changes k where k.tenant_id = apply_kpi_changes.tenant and k.id <= upper returning k.*
    )
    select array_agg(row(g.*)::annals.kpi_changes) into taken from gone g;
    if taken is null then
        return 0;
    end if;
    perform annals.apply_kpi_days(tenant, taken);
    perform annals.apply_kpi_names(tenant, taken);
    perform annals.apply_kpi_repeat_customers(tenant, taken);
    return cardinality(taken);
end
$function$;
grant execute on function annals.apply_kpi_changes(uuid,integer) to annals_projector;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- key_figure_repair
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- SQL for annals.kpi_name of a value. The function itself is only called for long names, because a call takes longer than the rest of a
-- row.
create function annals.kpi_name_of(value text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select format('case when octet_length(%1$s) <= 500 then %1$s else annals.kpi_name(%1$s) end', value)
$function$;
grant execute on function annals.kpi_name_of(text) to annals_projector;

-- The sales and expenses that count, of a tenant or of all (null), and recorded changes with the opposite sign.
create function annals.kpi_facts(sales regclass, expenses regclass, tenant uuid)
 RETURNS TABLE(tenant_id uuid, sign integer, source text, day date, currency text, amount_cents bigint, product text, customer text, category text, cause_id text, cause_version integer, caused_at timestamp with time zone)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    return query execute format(
        'select s.tenant_id, 1, ''sale'', s.sale_date, s.currency, s.amount_cents, %s, %s, null, s.id, s.version, s.updated_at
           from %s s
          where ($1 is null or s.tenant_id = $1) and %s
          union all
         select e.tenant_id, 1, ''expense'', e.expense_date, e.currency, e.amount_cents, null, null, %s, e.id, e.version, e.updated_at
           from %s e
          where ($1 is null or e.tenant_id = $1) and %s
          union all
         select c.tenant_id, -c.sign, c.source, c.day, c.currency, c.amount_cents, c.product, c.customer, c.category, c.cause_id, c.cause_version,
                c.caused_at
           from annals.kpi_changes c
          where $1 is null or c.tenant_id = $1',
        annals.kpi_name_of('s.product'), annals.kpi_name_of('s.customer_id'), sales, annals.kpi_counts('s', 'sale_date'),
        annals.kpi_name_of('coalesce(e.category, '''')'), expenses, annals.kpi_counts('e', 'expense_date'))
    using tenant;
end
$function$;
grant execute on function annals.kpi_facts(regclass,regclass,uuid) to annals_projector;

-- The right rows of annals.kpi_names.
create function annals.kpi_names_of(sales regclass, expenses regclass, tenant uuid)
 RETURNS TABLE(tenant_id uuid, kind text, span text, currency text, name text, period date, positive_cents numeric, negative_cents numeric, entries numeric)
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_nestloop TO 'off'
 SET jit TO 'off'
AS $function$
    with facts as materialized (
        select * from annals.kpi_facts(sales, expenses, tenant)
    ), named as (
        select f.tenant_id, 'product' as kind, f.product as name, f.currency, f.day, f.sign, f.amount_cents from facts f where f.product is not null
         union all
        select f.tenant_id, 'customer', f.customer, f.currency, f.day, f.sign, f.amount_cents from facts f where f.customer is not null
         union all
        select f.tenant_id, 'category', f.category, f.currency, f.day, f.sign, f.amount_cents from facts f where f.category is not null
    ), days as materialized (
        select n.tenant_id, n.kind, n.currency, n.name, n.day,
               coalesce(sum(n.amount_cents) filter (where n.sign = 1 and n.amount_cents > 0), 0)
               - coalesce(sum(n.amount_cents) filter (where n.sign = -1 and n.amount_cents > 0), 0) as positive_cents,
               coalesce(sum(n.amount_cents) filter (where n.sign = -1 and n.amount_cents < 0), 0)
               - coalesce(sum(n.amount_cents) filter (where n.sign = 1 and n.amount_cents < 0), 0) as negative_cents,
               sum(n.sign)::numeric as entries
          from named n
         group by 1, 2, 3, 4, 5
    ), months as materialized (
        select d.tenant_id, d.kind, d.currency, d.name, date_trunc('month', d.day::timestamp)::date as month, sum(d.positive_cents) as positive_cents,
               sum(d.negative_cents) as negative_cents, sum(d.entries) as entries
          from days d
         group by 1, 2, 3, 4, 5
    ), spans as (
        select d.tenant_id, d.kind, 'day' as span, d.currency, d.name, d.day as period, d.positive_cents, d.negative_cents, d.entries from days d
         union all
        select m.tenant_id, m.kind, 'month', m.currency, m.name, m.month, m.positive_cents, m.negative_cents, m.entries from months m
         union all
        select m.tenant_id, m.kind, 'year', m.currency, m.name, date_trunc('year', m.month::timestamp)::date, sum(m.positive_cents),
               sum(m.negative_cents), sum(m.entries)
          from months m
         group by 1, 2, 4, 5, 6
    )
    select * from spans s where (s.entries, s.positive_cents, s.negative_cents) <> (0, 0, 0)
$function$;
grant execute on function annals.kpi_names_of(regclass,regclass,uuid) to annals_projector;

-- The right rows of annals.kpi_repeat_customers.
create function annals.kpi_repeat_customers_of(sales regclass, expenses regclass, tenant uuid)
 RETURNS TABLE(tenant_id uuid, day date, currency text, previous_day date, customers bigint)
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_nestloop TO 'off'
 SET jit TO 'off'
AS $function$
    select b.tenant_id, b.day, b.currency, b.previous_day, count(*)
      from (select f.tenant_id, f.day, f.currency,
                   coalesce(lag(f.day) over (partition by f.tenant_id, f.currency, f.customer order by f.day), '-infinity') as previous_day
              from annals.kpi_facts(sales, expenses, tenant) f
             where f.customer is not null
             group by f.tenant_id, f.currency, f.customer, f.day
            having sum(f.sign) > 0) as b
     group by 1, 2, 3, 4
$function$;
grant execute on function annals.kpi_repeat_customers_of(regclass,regclass,uuid) to annals_projector;

-- The right rows of annals.kpi_days, with the last event that affected each day.
create function annals.kpi_days_of(sales regclass, expenses regclass, tenant uuid)
 RETURNS TABLE(tenant_id uuid, day date, currency text, revenue_cents numeric, refunds_cents numeric, sales_count numeric, expenses_cents numeric, expenses_count numeric, new_customers bigint, active_customers bigint, cause_type text, cause_id text, cause_version integer, caused_at timestamp with time zone)
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_nestloop TO 'off'
 SET jit TO 'off'
AS $function$
    with facts as materialized (
        select * from annals.kpi_facts(sales, expenses, tenant)
    ), sums as (
        select f.tenant_id, f.day, f.currency,
               coalesce(sum(f.sign * greatest(f.amount_cents, 0)::numeric) filter (where f.source = 'sale'), 0) as revenue_cents,
               coalesce(sum(f.sign * -least(f.amount_cents, 0)::numeric) filter (where f.source = 'sale'), 0) as refunds_cents,
               coalesce(sum(f.sign) filter (where f.source = 'sale'), 0)::numeric as sales_count,
               coalesce(sum(f.sign * f.amount_cents::numeric) filter (where f.source = 'expense'), 0) as expenses_cents,
               coalesce(sum(f.sign) filter (where f.source = 'expense'), 0)::numeric as expenses_count,
               max(f.caused_at) filter (where f.sign = 1) as latest
          from facts f
         group by 1, 2, 3
    ), causes as (
        select distinct on (f.tenant_id, f.day, f.currency) f.tenant_id, f.day, f.currency, f.source, f.cause_id, f.cause_version, f.caused_at
          from facts f
          join sums s on s.tenant_id = f.tenant_id and s.day = f.day and s.currency = f.currency and s.latest = f.caused_at
         where f.sign = 1
         order by f.tenant_id, f.day, f.currency, f.source, f.cause_id
    ), customers as (
        select r.tenant_id, r.day, r.currency, coalesce(sum(r.customers) filter (where r.previous_day = '-infinity'), 0)::bigint as new_customers,
               sum(r.customers)::bigint as active_customers
          from annals.kpi_repeat_customers_of(sales, expenses, tenant) r
         group by 1, 2, 3
    )
    select s.tenant_id, s.day, s.currency, s.revenue_cents, s.refunds_cents, s.sales_count, s.expenses_cents, s.expenses_count,
           coalesce(k.new_customers, 0), coalesce(k.active_customers, 0), c.source, c.cause_id, c.cause_version, c.caused_at
      from sums s
      left join causes c on c.tenant_id = s.tenant_id and c.day = s.day and c.currency = s.currency
      left join customers k on k.tenant_id = s.tenant_id and k.day = s.day and k.currency = s.currency
     where (s.revenue_cents, s.refunds_cents, s.sales_count, s.expenses_cents, s.expenses_count) <> (0, 0, 0, 0, 0)
$function$;
grant execute on function annals.kpi_days_of(regclass,regclass,uuid) to annals_projector;

-- Makes the figures of a tenant, or of all (null), equal to the state tables minus recorded changes; returns how many rows were wrong. The
-- caller must hold annals_locks.kpis EXCLUSIVE.
create function annals.repair_key_figures(tenant uuid)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_nestloop TO 'off'
 SET jit TO 'off'
AS $function$
declare
    changed bigint;
begin
    with days as materialized (
        select * from annals.kpi_days_of('public.sales', 'public.expenses', repair_key_figures.tenant)
    ), names as materialized (
        select * from annals.kpi_names_of('public.sales', 'public.expenses', repair_key_figures.tenant)
    ), returns as materialized (
        select * from annals.kpi_repeat_customers_of('public.sales', 'public.expenses', repair_key_figures.tenant)
    ), emptied as (
        update annals.kpi_days d
           set revenue_cents = 0, refunds_cents = 0, sales_count = 0, expenses_cents = 0, expenses_count = 0, new_customers = 0,
               active_customers = 0, changes = d.changes + 1, is_due = true, due_since = case when d.is_due then d.due_since else now() end
         where (repair_key_figures.tenant is null or d.tenant_id = repair_key_figures.tenant)
           and (d.revenue_cents, d.refunds_cents, d.sales_count, d.expenses_cents, d.expenses_count, d.new_customers, d.active_customers)
               <> (0, 0, 0, 0, 0, 0, 0)
           and not exists (select from days e where e.tenant_id = d.tenant_id and e.day = d.day and e.currency = d.currency)
        returning d.day
    ), days_written as (
        insert into annals.kpi_days as d (tenant_id, day, currency, revenue_cents, refunds_cents, sales_count, expenses_cents, expenses_count,
                                          new_customers, active_customers, cause_type, cause_id, cause_version, caused_at, changes, is_due)
        select e.tenant_id, e.day, e.currency, e.revenue_cents, e.refunds_cents, e.sales_count, e.expenses_cents, e.expenses_count,
               e.new_customers, e.active_customers, coalesce(e.cause_type, 'sale'), coalesce(e.cause_id, ''), coalesce(e.cause_version, 0),
               coalesce(e.caused_at, now()), 1, true
          from days e
        on conflict on constraint kpi_days_pkey do update
            set revenue_cents = excluded.revenue_cents, refunds_cents = excluded.refunds_cents, sales_count = excluded.sales_count,
                expenses_cents = excluded.expenses_cents, expenses_count = excluded.expenses_count, new_customers = excluded.new_customers,
                active_customers = excluded.active_customers, changes = d.changes + 1, is_due = true,
                due_since = case when d.is_due then d.due_since else excluded.due_since end
            where (d.revenue_cents, d.refunds_cents, d.sales_count, d.expenses_cents, d.expenses_count, d.new_customers, d.active_customers)
                  <> (excluded.revenue_cents, excluded.refunds_cents, excluded.sales_count, excluded.expenses_cents, excluded.expenses_count,
                      excluded.new_customers, excluded.active_customers)
        returning d.day
    ), names_gone as (
        delete from annals.kpi_names n
         where (repair_key_figures.tenant is null or n.tenant_id = repair_key_figures.tenant)
           and not exists (select from names e
                            where e.tenant_id = n.tenant_id and e.kind = n.kind and e.span = n.span and e.currency = n.currency
                              and e.name = n.name and e.period = n.period)
        returning n.period
    ), names_written as (
        insert into annals.kpi_names as n (tenant_id, kind, span, currency, name, period, positive_cents, negative_cents, entries)
        select e.tenant_id, e.kind, e.span, e.currency, e.name, e.period, e.positive_cents, e.negative_cents, e.entries
          from names e
        on conflict on constraint kpi_names_pkey do update
            set positive_cents = excluded.positive_cents, negative_cents = excluded.negative_cents, entries = excluded.entries
            where (n.positive_cents, n.negative_cents, n.entries) <> (excluded.positive_cents, excluded.negative_cents, excluded.entries)
        returning n.period
    ), returns_gone as (
        delete from annals.kpi_repeat_customers r
         where (repair_key_figures.tenant is null or r.tenant_id = repair_key_figures.tenant)
           and not exists (select from returns e where e.tenant_id = r.tenant_id and e.day = r.day and e.currency = r.currency
                                                   and e.previous_day = r.previous_day)
        returning r.day
    ), returns_written as (
        insert into annals.kpi_repeat_customers as r (tenant_id, day, currency, previous_day, customers)
        select e.tenant_id, e.day, e.currency, e.previous_day, e.customers
          from returns e
        on conflict on constraint kpi_repeat_customers_pkey do update set customers = excluded.customers where r.customers <> excluded.customers
        returning r.day
    )
    select (select count(*) from emptied) + (select count(*) from days_written) + (select count(*) from names_gone)
           + (select count(*) from names_written) + (select count(*) from returns_gone) + (select count(*) from returns_written)
      into changed;
    return changed;
end
$function$;
grant execute on function annals.repair_key_figures(uuid) to annals_projector;

-- The differences between the figures and what these sales and expenses, minus recorded changes, amount to.
create function annals.list_kpi_differences(sales regclass, expenses regclass, tenant uuid)
 RETURNS TABLE(table_name text, key text, column_name text, found text, expected text)
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_nestloop TO 'off'
 SET jit TO 'off'
AS $function$
    select 'annals.kpi_days', jsonb_build_object('tenant_id', coalesce(d.tenant_id, e.tenant_id), 'day', coalesce(d.day, e.day),
                                                 'currency', coalesce(d.currency, e.currency))::text, v.column_name, v.found::text, v.expected::text
      from (select k.* from annals.kpi_days k
             where ($3 is null or k.tenant_id = $3)
               and (k.revenue_cents, k.refunds_cents, k.sales_count, k.expenses_cents, k.expenses_count, k.new_customers, k.active_customers)
                   <> (0, 0, 0, 0, 0, 0, 0)) as d
      full join annals.kpi_days_of($1, $2, $3) e on e.tenant_id = d.tenant_id and e.day = d.day and e.currency = d.currency
     cross join lateral (values
           ('revenue_cents', coalesce(d.revenue_cents, 0), coalesce(e.revenue_cents, 0)), ('refunds_cents', coalesce(d.refunds_cents, 0), coalesce(e.refunds_cents, 0)),
           ('sales_count', coalesce(d.sales_count, 0), coalesce(e.sales_count, 0)), ('expenses_cents', coalesce(d.expenses_cents, 0), coalesce(e.expenses_cents, 0)),
           ('expenses_count', coalesce(d.expenses_count, 0), coalesce(e.expenses_count, 0)), ('new_customers', coalesce(d.new_customers, 0), coalesce(e.new_customers, 0)),
           ('active_customers', coalesce(d.active_customers, 0), coalesce(e.active_customers, 0))) as v (column_name, found, expected)
     where v.found <> v.expected
     union all
    select 'annals.kpi_names', jsonb_build_object('tenant_id', coalesce(n.tenant_id, e.tenant_id), 'kind', coalesce(n.kind, e.kind),
                                                  'span', coalesce(n.span, e.span), 'currency', coalesce(n.currency, e.currency),
                                                  'name', coalesce(n.name, e.name), 'period', coalesce(n.period, e.period))::text,
           v.column_name, v.found::text, v.expected::text
      from (select k.* from annals.kpi_names k where $3 is null or k.tenant_id = $3) as n
      full join annals.kpi_names_of($1, $2, $3) e on e.tenant_id = n.tenant_id and e.kind = n.kind and e.span = n.span and e.currency = n.currency
                                                 and e.name = n.name and e.period = n.period
     cross join lateral (values
           ('positive_cents', coalesce(n.positive_cents, 0), coalesce(e.positive_cents, 0)), ('negative_cents', coalesce(n.negative_cents, 0), coalesce(e.negative_cents, 0)),
           ('entries', coalesce(n.entries, 0), coalesce(e.entries, 0))) as v (column_name, found, expected)
     where v.found <> v.expected
     union all
    select 'annals.kpi_repeat_customers', jsonb_build_object('tenant_id', coalesce(r.tenant_id, e.tenant_id), 'day', coalesce(r.day, e.day),
                                                    'currency', coalesce(r.currency, e.currency),
                                                    'previous_day', coalesce(r.previous_day, e.previous_day))::text,
           'customers', coalesce(r.customers, 0)::text, coalesce(e.customers, 0)::text
      from (select k.* from annals.kpi_repeat_customers k where $3 is null or k.tenant_id = $3) as r
      full join annals.kpi_repeat_customers_of($1, $2, $3) e on e.tenant_id = r.tenant_id and e.day = r.day and e.currency = r.currency
                                                   and e.previous_day = r.previous_day
     where coalesce(r.customers, 0) <> coalesce(e.customers, 0)
$function$;
grant execute on function annals.list_kpi_differences(regclass,regclass,uuid) to annals_projector;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- key_figure_announcements
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- Appends a tenant's announcements as its service annals; returns how many.
create function annals.announce_kpis(tenant uuid, new_ids uuid[], streams text[], datas jsonb[], causes uuid[], expected_versions integer[])
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    members int := cardinality(new_ids);
begin
    -- The expected version ensures that an announcement is made once. An idempotency key could not: a client could have used it before.
    return (select count(*)
              from annals.append_events(
                   jsonb_build_object('sub', tenant, 'app_metadata', jsonb_build_object('role', 'service', 'name', 'annals', 'tenant_id', tenant)),
                   new_ids, array_fill('kpi.calculated'::text, array[members]), array_fill('kpi'::text, array[members]), streams,
                   array_fill('1.0'::text, array[members]), datas, array_fill('{}'::jsonb, array[members]), '{}'::jsonb,
                   array_fill('system'::text, array[members]), array_fill(null::uuid, array[members]), array_fill('sweep'::text, array[members]),
                   array_fill(null::timestamptz, array[members]), array_fill(null::text, array[members]), causes,
                   array_fill(null::text, array[members]), array_fill(null::text, array[members]), expected_versions,
                   array_fill('sweep'::text, array[members]), (select r.revision from annals.catalog_revision r)));
end
$function$;
grant execute on function annals.announce_kpis(uuid,uuid[],text[],jsonb[],uuid[],integer[]) to annals_projector;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- uploads
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- Uploaded files, and the outcome of their rows.
create table annals.uploads (
    -- UUID v7; the correlation_id of the upload's events.
    id uuid not null,
    -- Tenant, from the token.
    tenant_id uuid not null,
    -- Actor of the token.
    started_by text collate "C" not null,
    -- What the file contains: sales, customers or expenses.
    dataset text collate "C" not null,
    -- waiting for its file, running, completed (rows may have been rejected) or failed.
    status text collate "C" not null,
    -- Whether it only reports what would happen to the rows.
    dry_run boolean not null,
    -- The fields of the upload, as they were sent.
    options jsonb not null,
    -- SHA-256 of the file's bytes.
    file_sha256 bytea,
    -- The file's header; null until it is read.
    header text[],
    -- Separator of fields; null until the header is read.
    delimiter text,
    -- Headers of columns that are not read; null until the header is read.
    ignored_columns text[],
    -- Number of bytes of the file that are processed, for showing progress. An interrupted import continues from annals.imports.place.
    "position" bigint not null default 0,
    -- Why the file as a whole was refused, {code, detail}; null otherwise.
    failure jsonb,
    -- Rows that have been processed.
    rows_total bigint not null default 0,
    -- Rows that created entities.
    rows_accepted bigint not null default 0,
    -- Rows that were rejected.
    rows_rejected bigint not null default 0,
    -- Rows that contain nothing new.
    rows_duplicate bigint not null default 0,
    -- Rows that changed existing entities.
    rows_updated bigint not null default 0,
    -- Rows with an amount that had to be rounded to a minor unit.
    rows_rounded bigint not null default 0,
    -- Rows in annals.rejected_rows. Fewer than were rejected if there were more than are stored; 0 once the report has been deleted.
    rows_reported bigint not null default 0,
    -- Events that were appended.
    events_appended bigint not null default 0,
    -- Errors of rejected rows, stored or not.
    errors_found bigint not null default 0,
    -- When the upload was requested.
    created_at timestamp with time zone not null default clock_timestamp(),
    -- When the first row was read; null while it waits for its file, or if the file was never read.
    started_at timestamp with time zone,
    -- When it ended; null until then.
    finished_at timestamp with time zone,
    -- What the caller should know of the file, {code, message} each, although it is imported.
    warnings jsonb not null default '[]'::jsonb,
    constraint uploads_status CHECK ((status = ANY (ARRAY['waiting'::text, 'running'::text, 'completed'::text, 'failed'::text]))),
    constraint uploads_times CHECK ((((status = 'failed'::text) OR ((status = 'waiting'::text) = (started_at IS NULL))) AND ((status = ANY (ARRAY['completed'::text, 'failed'::text])) = (finished_at IS NOT NULL)))),
    constraint uploads_failure CHECK (((failure IS NULL) OR ((status = 'failed'::text) AND (jsonb_typeof(failure) = 'object'::text)))),
    constraint uploads_options_shape CHECK ((jsonb_typeof(options) = 'object'::text)),
    constraint uploads_sha256_length CHECK ((length(file_sha256) = 32)),
    constraint uploads_header_has_delimiter CHECK (((header IS NULL) = (delimiter IS NULL))),
    constraint uploads_position CHECK (("position" >= 0)),
    constraint uploads_rows CHECK (((rows_total = (((rows_accepted + rows_rejected) + rows_duplicate) + rows_updated)) AND (LEAST(rows_accepted, rows_rejected, rows_duplicate, rows_updated, rows_rounded, rows_reported, events_appended) >= 0) AND (rows_rounded <= rows_total) AND (rows_reported <= rows_rejected))),
    constraint uploads_pkey PRIMARY KEY (id),
    constraint uploads_warnings_shape CHECK ((jsonb_typeof(warnings) = 'array'::text))
);
CREATE INDEX uploads_under_way ON annals.uploads USING btree (created_at) WHERE (status = ANY (ARRAY['waiting'::text, 'running'::text]));
CREATE INDEX uploads_with_reports ON annals.uploads USING btree (finished_at) WHERE (rows_reported > 0);
CREATE INDEX uploads_by_file ON annals.uploads USING btree (tenant_id, file_sha256) WHERE ((file_sha256 IS NOT NULL) AND ((events_appended > 0) OR (status = 'running'::text)));
alter table annals.uploads enable row level security;
create policy uploads_read on annals.uploads for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR (started_by = ( SELECT annals.caller_actor() AS caller_actor)))));
create policy uploads_work on annals.uploads for all to annals_projector using (true) with check (true);
grant select, insert, update on annals.uploads to annals_projector;
grant select on annals.uploads to authenticated;

-- Rows that uploads rejected, as they were sent, until their report is deleted.
create table annals.rejected_rows (
    -- The upload.
    upload_id uuid not null,
    -- Number of the record in the file, from 1.
    "row" bigint not null,
    -- Physical line on which it begins.
    line bigint not null,
    -- Tenant of the upload, copied here so that the policy needs no second table.
    tenant_id uuid not null,
    -- Actor of the upload, copied here like tenant_id.
    started_by text collate "C" not null,
    -- The record's fields, in the order of the file.
    fields text[] not null,
    -- Its errors: [{column, code, message, value}], at least one.
    errors jsonb not null,
    constraint rejected_rows_places CHECK ((("row" > 0) AND (line > 0))),
    constraint rejected_rows_errors CHECK (((jsonb_typeof(errors) = 'array'::text) AND (errors <> '[]'::jsonb))),
    constraint rejected_rows_pkey PRIMARY KEY (upload_id, "row"),
    constraint rejected_rows_upload_fkey FOREIGN KEY (upload_id) REFERENCES annals.uploads(id) ON DELETE CASCADE
);
alter table annals.rejected_rows enable row level security;
create policy rejected_rows_read on annals.rejected_rows for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR (started_by = ( SELECT annals.caller_actor() AS caller_actor)))));
create policy rejected_rows_work on annals.rejected_rows for all to annals_projector using (true) with check (true);
grant select, insert, delete on annals.rejected_rows to annals_projector;
grant select on annals.rejected_rows to authenticated;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- imports
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- Large uploads: for whom they are imported, which worker has the lease, and how far they are.
create table annals.imports (
    -- The upload; also the name of its object in the storage.
    upload_id uuid not null,
    -- Until when the file may be sent.
    expires_at timestamp with time zone not null,
    -- End of the lease: the worker counts as dead after it unless it renews the lease.
    held_until timestamp with time zone,
    -- Worker that has the lease; a new id for each attempt.
    holder uuid,
    -- Bytes of the file; null until it has arrived.
    size_bytes bigint,
    -- Rows of the file, counted before any is processed.
    rows_found bigint,
    -- How many times a worker has begun since the last progress.
    attempts integer not null default 0,
    -- Number of partitions, fixed when it begins; null before, and again once it has ended and its temporary data are deleted.
    partitions integer,
    -- The storage's tag (ETag) of the object: an object of the same name with another tag is refused.
    object_tag text,
    -- Claims of the caller who requested it. Its events are appended in their name.
    claims jsonb not null,
    -- What the server observed of that request; becomes recorded of each event.
    context jsonb not null,
    -- How the file is decoded: its encoding.
    reader jsonb,
    -- Where reading continues; every row before it is processed. offset: the byte of the file at which decoding begins; skip: bytes of
    -- decoded text after it; line and row: the numbers reached there; after_return: whether the text before it ends with a carriage return.
    resume_point jsonb,
    -- Whether the import begins when its file has arrived. Otherwise it waits until its options are confirmed.
    starts boolean not null default true,
    -- The fields of the inspection that was asked for last; null: none was.
    asked jsonb,
    -- The answer of that inspection, or why the file cannot be inspected; null until then.
    inspection jsonb,
    constraint imports_held CHECK (((holder IS NULL) = (held_until IS NULL))),
    constraint imports_object CHECK (((size_bytes IS NULL) = (object_tag IS NULL))),
    constraint imports_inspected CHECK ((((rows_found IS NULL) = (reader IS NULL)) AND ((resume_point IS NULL) = (reader IS NULL)))),
    constraint imports_pkey PRIMARY KEY (upload_id),
    constraint imports_upload_fkey FOREIGN KEY (upload_id) REFERENCES annals.uploads(id) ON DELETE CASCADE,
    constraint imports_asked_shape CHECK ((jsonb_typeof(asked) = 'object'::text)),
    constraint imports_inspection_shape CHECK (((inspection IS NULL) OR ((asked IS NOT NULL) AND (jsonb_typeof(inspection) = 'object'::text))))
);
CREATE INDEX imports_to_purge ON annals.imports USING btree (upload_id) WHERE (partitions IS NOT NULL);
CREATE INDEX imports_held ON annals.imports USING btree (held_until) WHERE (holder IS NOT NULL);
alter table annals.imports enable row level security;
create policy imports_work on annals.imports for all to annals_projector using (true) with check (true);
grant select, insert, update on annals.imports to annals_projector;

-- Progress of each partition of an import, moved in the transaction that appends its events.
create table annals.import_partitions (
    -- The upload.
    upload_id uuid not null,
    -- Number of the partition, from 0.
    partition integer not null,
    -- Watermark: of the rows of this partition, those up to this number are processed.
    processed_row bigint not null default 0,
    -- Rows of the partition that created entities.
    rows_accepted bigint not null default 0,
    -- Rows of the partition that were rejected.
    rows_rejected bigint not null default 0,
    -- Rows of the partition that contain nothing new.
    rows_duplicate bigint not null default 0,
    -- Rows of the partition that changed existing entities.
    rows_updated bigint not null default 0,
    -- Rows of the partition with an amount that had to be rounded to a minor unit.
    rows_rounded bigint not null default 0,
    -- Rows of the partition in annals.rejected_rows.
    rows_reported bigint not null default 0,
    -- Events that the partition has appended.
    events_appended bigint not null default 0,
    -- Bytes that the partition's rows in annals.rejected_rows take. Beyond a limit no more rows are stored.
    reported_bytes bigint not null default 0,
    -- Errors of the partition's rejected rows, stored or not.
    errors_found bigint not null default 0,
    constraint import_partitions_pkey PRIMARY KEY (upload_id, partition),
    constraint import_partitions_import_fkey FOREIGN KEY (upload_id) REFERENCES annals.imports(upload_id) ON DELETE CASCADE
) with (fillfactor=20);
alter table annals.import_partitions enable row level security;
create policy import_partitions_work on annals.import_partitions for all to annals_projector using (true) with check (true);
grant select, insert, update on annals.import_partitions to annals_projector;

-- How many rows with the same content an import has read, if rows have no ids: equal rows are distinguished by a counter. Deleted when the
-- import ends.
create table annals.import_contents (
    -- The upload.
    upload_id uuid not null,
    -- The first 64 bits of the content's hash.
    content bigint not null,
    -- Number of processed rows with this content.
    times integer not null,
    constraint import_contents_pkey PRIMARY KEY (upload_id, content)
);
alter table annals.import_contents enable row level security;
create policy import_contents_work on annals.import_contents for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on annals.import_contents to annals_projector;

-- A worker that takes a lease on an import locks it EXCLUSIVE, so that one at a time counts how many have one.
create table annals_locks.imports ();
grant update on annals_locks.imports to annals_projector;

-- Takes the lease on an import for a worker, unless another worker has it or as many other imports have one. Returns whether it did.
create function annals.acquire_import_lease(import_id uuid, worker uuid, seconds double precision, most integer)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    lock table annals_locks.imports in exclusive mode;
    if (select count(*) from annals.imports i
         where i.holder is not null and i.held_until >= clock_timestamp() and i.upload_id <> import_id) >= most then
        return false;
    end if;
    update annals.imports i
       set holder = worker, held_until = clock_timestamp() + make_interval(secs => seconds), attempts = i.attempts + 1
      from annals.uploads u
     where i.upload_id = import_id and u.id = i.upload_id and u.status in ('waiting', 'running')
       and (i.held_until is null or i.held_until < clock_timestamp());
    return found;
end
$function$;
grant execute on function annals.acquire_import_lease(uuid,uuid,double precision,integer) to annals_projector;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- schema_version
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- Number of the newest migration that was applied.
create function annals.newest_migration()
 RETURNS integer
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$ select max(h.version) from annals.schema_history h $function$;
grant execute on function annals.newest_migration() to annals_projector;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- sql_views
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- The events that the caller may see, with whether read models contain them. To page through all of them use read_events.
--   id: UUID v7, chosen by the server before the append, so that it can find its event if the connection breaks before the answer arrives.
--   event_number: Position over all streams: rising, with gaps. It is drawn after the stream is locked, so it rises within each stream.
--   tenant_id: Tenant, from the token.
--   event_type: Name in the catalog: {aggregate_type}.{action}.
--   aggregate_type: Aggregate type of the stream.
--   aggregate_id: Id of the aggregate: a uuid or other printable text.
--   aggregate_version: Position in its stream: 1, 2, 3 … without gaps.
--   version: Version of the schema that data follows.
--   data: What happened, as the schema of the type's version describes it.
--   metadata: Context as the client sent it: a reason and whatever the client adds. Not evidence: see recorded. Empty for a caller who sees
--     the event only because they started its stream.
--   recorded: What the server observed: ip_address, user_agent and request_id over HTTP, posted_by always. No caller can write it. Empty
--     for a caller who sees the event only because they started its stream.
--   created_by: Actor: user:…, agent:…, service:… or system.
--   user_id: The person, if there is one.
--   source: Where it came from, as the client says; api by default.
--   timestamp: Business time: when it happened, as the client says; by default created_at.
--   created_at: Recorded time, by the database; strictly rising within a stream.
--   correlation_id: Groups the events of one flow.
--   command_id: Id of the command that led to the event.
--   causation_id: Id of the event that caused this one.
--   idempotency_key: The client's key, unique per tenant and posted_by.
--   processed: Whether read models contain it.
create view public.event_stream with (security_invoker = true) as
    select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version,
           e.data,
           coalesce((select w.metadata from annals.withheld_context w
                      where w.event_number = e.event_number and e.starter_sees and e.started_by <> e.created_by), e.metadata) as metadata,
           coalesce((select w.recorded from annals.withheld_context w
                      where w.event_number = e.event_number and e.starter_sees and e.started_by <> e.created_by), e.recorded) as recorded,
           e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id,
           e.causation_id, e.idempotency_key, coalesce(e.aggregate_version <= h.projected_version, false) as processed
      from annals.events e
      left join annals.heads h
        on h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id;
grant select on public.event_stream to authenticated;

-- Events of a stream from a version on, oldest first.
create function public.get_aggregate_events(aggregate_type text, aggregate_id text, from_version integer DEFAULT 1)
 RETURNS SETOF public.event_stream
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select s.* from public.event_stream s
     where s.tenant_id = (select annals.caller_tenant())
       and s.aggregate_type = get_aggregate_events.aggregate_type and s.aggregate_id = get_aggregate_events.aggregate_id
       and s.aggregate_version >= get_aggregate_events.from_version
     order by s.aggregate_version
$function$;
grant execute on function public.get_aggregate_events(text,text,integer) to authenticated;

-- Events that the caller may see after an event_number, oldest first, at most 1,000. Pass the last event_number as "after" in the next
-- call: then every committed event is returned exactly once. It waits up to a second for running appends.
create function public.read_events(after bigint DEFAULT 0, row_limit integer DEFAULT 100)
 RETURNS SETOF public.event_stream
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    mark bigint;
begin
    -- The page must be read in a snapshot that is taken after the high-water mark. Transactions of other isolation levels have one
    -- snapshot, taken before.
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        perform annals.refuse(400, 'wrong_isolation', 'read_events works in read committed transactions only: a snapshot that is older than the call may lack events');
    end if;
    mark := annals.wait_for_high_water_mark(interval '1 second');
    return query
        select s.* from public.event_stream s
         where s.tenant_id = (select annals.caller_tenant()) and s.event_number > read_events.after and s.event_number <= mark
         order by s.event_number
         limit least(greatest(coalesce(row_limit, 100), 1), 1000);
end
$function$;
grant execute on function public.read_events(bigint,integer) to authenticated;

-- The events that the caller may see: event_stream with two more columns, payload and processing_error. Read only.
--   id: UUID v7, chosen by the server before the append, so that it can find its event if the connection breaks before the answer arrives.
--   event_number: Position over all streams: rising, with gaps. It is drawn after the stream is locked, so it rises within each stream.
--   tenant_id: Tenant, from the token.
--   event_type: Name in the catalog: {aggregate_type}.{action}.
--   aggregate_type: Aggregate type of the stream.
--   aggregate_id: Id of the aggregate: a uuid or other printable text.
--   aggregate_version: Position in its stream: 1, 2, 3 … without gaps.
--   version: Version of the schema that data follows, as text: 1.0. The position in the stream is aggregate_version.
--   data: What happened, as the schema of the type's version describes it.
--   metadata: Context as the client sent it: a reason and whatever the client adds. Not evidence: see recorded. Empty for a caller who sees
--     the event only because they started its stream.
--   recorded: What the server observed: ip_address, user_agent and request_id over HTTP, posted_by always. No caller can write it. Empty
--     for a caller who sees the event only because they started its stream.
--   created_by: Actor: user:…, agent:…, service:… or system.
--   user_id: The person, if there is one.
--   source: Where it came from, as the client says; api by default.
--   timestamp: Business time: when it happened, as the client says; by default created_at.
--   created_at: Recorded time, by the database; strictly rising within a stream.
--   correlation_id: Groups the events of one flow.
--   command_id: Id of the command that led to the event.
--   causation_id: Id of the event that caused this one.
--   idempotency_key: The client's key, unique per tenant and posted_by.
--   processed: Whether read models contain it.
--   payload: The same as data.
--   processing_error: Why the event could not be applied to its read model; it and the later events of its stream wait. Null for all other
--     events, including those that wait behind it, and for callers who do not see the tenant.
create view public.events with (security_invoker = true) as
    select s.*, s.data as payload, p.error as processing_error
      from public.event_stream s
      left join annals.parked_streams p
        on p.tenant_id = s.tenant_id and p.aggregate_type = s.aggregate_type and p.aggregate_id = s.aggregate_id
       and p.aggregate_version = s.aggregate_version and not s.processed;
grant select on public.events to authenticated;

-- The event types that the caller's tenant may use, each with schema and example of its current version. Read only; POST /events/types adds
-- to it.
--   tenant_id: Tenant that registered the type; null: built in, for every tenant.
--   event_type: {aggregate_type}.{action}, e.g. organization.gst.added.
--   aggregate_type: Aggregate type of the stream that contains the event.
--   version: Schema version given to an event that names none.
--   description: One human-readable sentence.
--   schema: JSON Schema (2020-12) of the data of an event of this version.
--   example: Data that the schema accepts.
--   effect: How the event changes state, as described at annals.event_types.effect.
--   posters: Roles that may post it: user, agent, staff, service.
--   created_by: Actor that registered the type; system: a migration.
--   created_at: When it was registered.
create view public.event_types with (security_invoker = true) as
    select t.tenant_id, t.event_type, t.aggregate_type, t.current_version as version, t.description, v.schema, v.example, t.effect,
           t.posters, t.created_by, t.created_at
      from annals.event_types t
     cross join lateral (
           select v.schema, v.example from annals.event_type_versions v
            where v.event_type = t.event_type and v.version = t.current_version and (v.tenant_id is null or v.tenant_id = t.tenant_id)
            order by v.tenant_id nulls last limit 1) as v
     where t.tenant_id is not null
        or not exists (select from annals.event_types own
                        where own.event_type = t.event_type and own.tenant_id = (select annals.caller_tenant()));
grant select on public.event_types to authenticated;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- sql_post_event
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- The instant that RFC 3339 text names, in the years 0001 to 9999; null if it is no such text.
create function annals.instant(value text)
 RETURNS timestamp with time zone
 LANGUAGE plpgsql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    part constant text[] := regexp_match(value,
        '^(\d{4}-\d\d-\d\d)[Tt ]((?:[01]\d|2[0-3]):[0-5]\d):([0-5]\d|60)(\.\d+)?([Zz]|([+-])((?:[01]\d|2[0-3]):[0-5]\d))$');
    moment timestamptz;
begin
    -- Fractions finer than microseconds are cut, and second 60 is the first of the next minute. A date that does not exist raises an error.
    moment := ((part[1] || ' ' || part[2])::timestamp + make_interval(secs => part[3]::int) + coalesce('0' || left(part[4], 7), '0')::numeric * interval '1 second'
             - case part[6] when '-' then -1 else 1 end * coalesce(part[7], '00:00')::interval) at time zone 'UTC';
    return case when moment >= '0001-01-01 00:00:00+00' and moment < '10000-01-01 00:00:00+00' then moment end;
exception when data_exception then
    return null;
end
$function$;

-- Refuses JSON that is not an event, before anything is looked up.
create function annals.check_event_fields(event jsonb)
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    fields      constant text[] := '{event_type,aggregate_type,aggregate_id,version,data,metadata,created_by,user_id,tenant_id,source,timestamp,correlation_id,causation_id,command_id,idempotency_key,expected_version}';
    strings     constant text[] := '{event_type,aggregate_type,aggregate_id,version,created_by,user_id,tenant_id,source,timestamp,correlation_id,causation_id,command_id,idempotency_key}';
    fault       text;
begin
    if jsonb_typeof(event) is distinct from 'object' then
        perform annals.refuse(400, 'malformed_event', 'the event must be a JSON object');
    end if;
    select coalesce(
        (select format('%s is required', f) from unnest(array['event_type', 'aggregate_type', 'aggregate_id', 'data']) as f
          where coalesce(jsonb_typeof(event -> f), 'null') = 'null' limit 1),
        (select format('%s is not a field of an event', k) from jsonb_object_keys(event) as k where k <> all (fields) limit 1),
        (select format('%s must be a string', s) from unnest(strings) as s where jsonb_typeof(event -> s) not in ('string', 'null') limit 1),
        (select format('%s must be an object', o) from unnest(array['data', 'metadata']) as o where jsonb_typeof(event -> o) not in ('object', 'null') limit 1),
        case when jsonb_typeof(event -> 'expected_version') not in ('number', 'null')
                  or (event ->> 'expected_version')::numeric not between 0 and 2147483646
                  or (event ->> 'expected_version')::numeric % 1 <> 0
             then 'expected_version must be a whole number from 0' end,
        case when jsonb_path_exists(event, 'strict $.**{64} ? (@.type() == "object" || @.type() == "array")')
             then 'the event has more than 64 levels of nesting' end,
        case when not annals.is_readable(event) then 'a member is called $serde_json::private::Number or RawValue, which are reserved' end,
        (select 'a number has more than 1000 digits when written without an exponent' from jsonb_path_query(event, 'strict $.** ? (@.type() == "number")') as n
          where length(translate(n #>> '{}', '-.', '')) > 1000 limit 1),
        (select t.name || ' ' || annals.text_fault(event ->> t.name, t.longest)
           from (values ('aggregate_id', 128), ('source', 100), ('correlation_id', 128), ('command_id', 128), ('idempotency_key', 255))
                as t (name, longest)
          where annals.text_fault(event ->> t.name, t.longest) is not null limit 1),
        case when event ->> 'aggregate_id' in ('.', '..') then 'aggregate_id must not be . or .., which have a meaning in URL paths' end,
        -- As over HTTP, a correlation_id in metadata counts like the field.
        case when jsonb_typeof(event #> '{metadata,correlation_id}') not in ('string', 'null')
             then 'metadata.correlation_id must be a string' end,
        'metadata.correlation_id ' || annals.text_fault(event #>> '{metadata,correlation_id}', 128),
        case when event ->> 'correlation_id' <> event #>> '{metadata,correlation_id}'
             then 'metadata.correlation_id differs from correlation_id; send only one of them, or the same value in both' end,
        (select format('%s must be a uuid', u) from unnest(array['user_id', 'tenant_id', 'causation_id']) as u
          where event ->> u !~* '^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$' limit 1),
        'created_by ' || annals.actor_fault(event ->> 'created_by'),
        -- A time without an offset would depend on the session's time zone.
        case when event ->> 'timestamp' is not null and annals.instant(event ->> 'timestamp') is null
             then 'timestamp must be an RFC 3339 date and time with an offset, between the years 0001 and 9999' end)
    into fault;
    if fault is not null then
        perform annals.refuse(400, 'malformed_event', fault);
    end if;
end
$function$;

-- A JSON Schema with a pattern added for each format.
create function annals.with_format_patterns(schema jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    day     constant text := '(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))'
                             || '|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)';
    label   constant text := '[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?';
    pattern constant text := case schema ->> 'format'
        when 'date' then '^' || day || '$'
        when 'date-time' then '^' || day || '[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$'
        when 'email' then '^[^\s@"(),:;<>\[\]\\.]+(?:\.[^\s@"(),:;<>\[\]\\.]+)*@' || label || '(?:\.' || label || ')*$'
        when 'uuid' then '^[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}$'
        end;
    written jsonb;
begin
    case jsonb_typeof(schema)
        when 'array' then
            return (select coalesce(jsonb_agg(annals.with_format_patterns(item) order by place), '[]')
                      from jsonb_array_elements(schema) with ordinality as i (item, place));
        when 'object' then
            select coalesce(jsonb_object_agg(m.key, case
                       -- Values of these keywords are data, not schemas.
                       when m.key in ('enum', 'const', 'default', 'examples') then m.value
                       -- The members of these are schemas under names of the author's choice, for example a property called "default".
                       when m.key in ('properties', 'patternProperties', '$defs', 'definitions', 'dependentSchemas')
                            and jsonb_typeof(m.value) = 'object'
                       then (select coalesce(jsonb_object_agg(p.key, annals.with_format_patterns(p.value)), '{}') from jsonb_each(m.value) as p)
                       else annals.with_format_patterns(m.value) end), '{}')
              into written
              from jsonb_each(schema) as m;
            if pattern is null or jsonb_typeof(schema -> 'format') <> 'string' then
                return written;
            end if;
            return written || jsonb_build_object('allOf',
                coalesce(written -> 'allOf', '[]') || jsonb_build_array(jsonb_build_object('pattern', pattern)));
        else
            return schema;
    end case;
end
$function$;

-- Refuses data that the catalog's schema refuses. Without pg_jsonschema, or for a format that it cannot check, it refuses every caller
-- except services.
create function annals.check_schema(role text, tenant uuid, event_type text, version text, data jsonb)
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    unchecked constant text := '"format": "(time|duration|(idn-)?hostname|idn-email|ipv[46]|(uri|iri)(-reference)?|uri-template|(relative-)?json-pointer|regex)"';
    current   text;
    schema    jsonb;
    matches   boolean;
begin
    if to_regprocedure('extensions.jsonb_matches_schema(json, jsonb)') is null then
        if role <> 'service' then
            perform annals.refuse(403, 'pg_jsonschema_missing',
                'without the extension pg_jsonschema, SQL cannot check data against the schema, so only a service may post in SQL; '
                'install it (create extension pg_jsonschema with schema extensions), or post over HTTP', 0);
        end if;
        return;
    end if;
    select t.current_version, v.schema into current, schema
      from annals.event_types t
      left join annals.event_type_versions v
        on v.event_type = t.event_type and v.version = coalesce(check_schema.version, t.current_version)
       and (v.tenant_id is not distinct from t.tenant_id or v.tenant_id is null)
     where t.event_type = check_schema.event_type and (t.tenant_id = tenant or t.tenant_id is null)
     order by t.tenant_id nulls last, v.tenant_id nulls last
     limit 1;
    -- A version later than the tenant's current one, which a module may have added as built-in, is not in use yet.
    if schema is not null and string_to_array(version, '.')::int[] > string_to_array(current, '.')::int[] then
        perform annals.refuse(422, 'unknown_version', format('%s has no version %s', event_type, version), 0);
    elsif schema is null then
        return;  -- the append function says which of type and version is unknown
    end if;
    if schema::text ~ unchecked and role <> 'service' then
        perform annals.refuse(403, 'format_unchecked',
            format('the schema of %s has a format that SQL cannot check, so only a service may post it in SQL; post it over HTTP', event_type), 0);
    end if;
    execute 'select extensions.jsonb_matches_schema($1::json, $2)' into matches using annals.with_format_patterns(schema), data;
    if matches is not true then
        perform annals.refuse(422, 'schema_violation', format('data does not match the schema of %s; see GET /events/types/%1$s', event_type), 0, 'data');
    end if;
end
$function$;

-- Refuses data or metadata of an event that is larger than the bound.
create function annals.check_size(part jsonb, name text, most integer)
 RETURNS void
 LANGUAGE plpgsql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    if octet_length(part::text) > most then
        perform annals.refuse(413, name || '_too_large',
            format('%s has %s bytes as JSON; at most %s are allowed', name, octet_length(part::text), most), 0, name);
    end if;
end
$function$;

-- A UUID v7 (RFC 9562). PostgreSQL has a function of its own only since 18.
create function annals.uuid_v7()
 RETURNS uuid
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select encode(set_bit(set_bit(overlay(
               uuid_send(gen_random_uuid())
               placing substring(int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
               from 1 for 6), 52, 1), 53, 1), 'hex')::uuid
$function$;

-- Checks and appends one event as the caller of the request's claims; returns its id. It is the only thing that public.post_event does with
-- the owner's rights.
create function annals.post_event(event jsonb)
 RETURNS uuid
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    claims   constant jsonb := annals.caller_claims();
    caller   record := annals.caller_of(claims);
    fields   jsonb;
    revision bigint;
begin
    if annals.actor_fault(caller.actor) is not null then
        perform annals.refuse(401, 'caller_unknown', 'app_metadata.name of the claims must be the name of the agent or service, without spaces');
    end if;
    perform annals.check_event_fields(event);
    fields := event - array['data', 'metadata'] || jsonb_build_object(
        'id', annals.uuid_v7(), 'timestamp', annals.instant(event ->> 'timestamp'),
        'correlation_id', coalesce(event ->> 'correlation_id', event #>> '{metadata,correlation_id}'));
    if (event ->> 'tenant_id')::uuid <> caller.tenant then
        perform annals.refuse(403, 'tenant_forged', 'tenant_id must be the token''s tenant; leave it out');
    end if;
    -- A retry returns the stored event, even if the catalog has changed since, so it is not checked again.
    if not exists (select from annals.events e
                    where e.tenant_id = caller.tenant and e.posted_by = caller.actor and e.idempotency_key = event ->> 'idempotency_key')
    then
        perform annals.check_size(event -> 'data', 'data', 262144), annals.check_size(event -> 'metadata', 'metadata', 16384);
        -- HTTP reads add it to the metadata of upcast events, so no caller may write it.
        if event -> 'metadata' ? 'migration_applied' then
            perform annals.refuse(422, 'reserved_metadata', 'metadata.migration_applied is reserved: Annals adds it to events that it has upcast; leave it out',
                                  0, 'metadata');
        end if;
        -- Read before the schema is checked: if the catalog changes in between, the append function refuses.
        revision := (select r.revision from annals.catalog_revision r);
        perform annals.check_schema(caller.role, caller.tenant, event ->> 'event_type', event ->> 'version', event -> 'data');
    end if;
    for attempt in 1..2 loop
        begin
            return (annals.append_event(claims, fields, event -> 'data', coalesce(nullif(event -> 'metadata', 'null'), '{}'), '{}', revision)).id;
        exception when serialization_failure or unique_violation then
            -- An equal request was processed at the same moment (annals.retry_if_same_request_won). The second attempt finds its event.
            if attempt = 2 then
                raise;
            end if;
        end;
    end loop;
end
$function$;
grant execute on function annals.post_event(jsonb) to authenticated;

-- Appends one event, given and returned in the HTTP API's form.
create function public.post_event(event jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    new_id constant uuid := annals.post_event(event);
begin
    return (select to_jsonb(s) from public.event_stream s where s.tenant_id = (select annals.caller_tenant()) and s.id = new_id);
end
$function$;
grant execute on function public.post_event(jsonb) to authenticated;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- module_helpers
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- The schema that accepts what the given one accepts, and null.
create function annals.nullable_schema(schema jsonb)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select case
               when schema -> 'type' @> '"null"' then schema
               -- A list of types keeps error messages readable. Keywords that refuse null independently of the type need anyOf.
               when schema ? 'type' and not schema ?| array['enum', 'const', 'allOf', 'anyOf', 'oneOf', 'not']
                   then schema || jsonb_build_object('type', jsonb_build_array() || (schema -> 'type') || '"null"')
               else jsonb_build_object('anyOf', jsonb_build_array(schema, '{"type": "null"}'::jsonb))
           end
$function$;

-- Fields of an object's schema, each with its schema as a later event may set it: also null, unless the schema requires the field.
create function annals.optional_fields(schema jsonb)
 RETURNS TABLE(field text, field_schema jsonb)
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select p.key, case when schema -> 'required' ? p.key or p.value in ('true', 'false') then p.value
                       else annals.nullable_schema(p.value) end
      from jsonb_each(schema -> 'properties') as p
$function$;

-- Schema of an updated event's data, {"changes": {field: {"old": …, "new": …}}}, from the schema of the entity's fields. Each new is what
-- its field accepts. Other fields are refused, and so are child collections, which the schema of created forbids. A change to null with
-- "removed": true removes the field from the state; without it, the field becomes null.
create function annals.changes_schema(schema jsonb)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select jsonb_build_object(
        'type', 'object',
        'required', jsonb_build_array('changes'),
        'properties', jsonb_build_object('changes', jsonb_build_object(
            'type', 'object',
            'minProperties', 1,
            'additionalProperties', false,
            'properties', jsonb_object_agg(f.field, jsonb_build_object(
                'type', 'object',
                'required', jsonb_build_array('old', 'new'),
                'additionalProperties', false,
                'properties', jsonb_build_object('old', true, 'new', f.field_schema, 'removed', '{"type": "boolean"}'::jsonb))))))
      from annals.optional_fields(schema) as f
     where f.field_schema <> 'false'
$function$;

-- Schema of an event whose data are some fields of the given schema, to be merged: at least one field, none required except a child's id.
create function annals.partial_schema(schema jsonb)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select case when schema -> 'properties' ? 'id' then '{"required": ["id"], "minProperties": 2}'::jsonb
                else '{"minProperties": 1}'::jsonb end
           || jsonb_build_object('type', 'object',
                                 -- A client that sends data of an updated event by mistake gets a refusal instead of a field called changes.
                                 'properties', jsonb_object_agg(f.field, f.field_schema) || '{"changes": false}')
      from annals.optional_fields(schema) as f
$function$;

-- Declares {type}.created, .updated and .deleted. noun: with its article, for descriptions; fields: schema of created's data; example: such
-- data; change: an example of changes, {field: {"old": …, "new": …}}; creators: roles that may post created; starter_sees: as in
-- annals.event_types.
create function annals.declare_entity(aggregate_type text, noun text, fields jsonb, example jsonb, change jsonb, creators text[] DEFAULT ARRAY['staff'::text, 'service'::text], starter_sees boolean DEFAULT false)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    perform annals.declare_event_type(
        aggregate_type || '.created', '"create"', creators,
        format('%s was created with the fields that the data give.', upper(left(noun, 1)) || substr(noun, 2)),
        fields, example, requires => 'new', starter_sees => starter_sees);
    perform annals.declare_event_type(
        aggregate_type || '.updated', '"changes"', array['staff', 'service'],
        format('Fields of %s were changed, each with its old and its new value.', noun),
        annals.changes_schema(fields), jsonb_build_object('changes', change), requires => 'existing', starter_sees => starter_sees);
    perform annals.declare_event_type(
        aggregate_type || '.deleted', '"delete"', array['staff', 'service'],
        format('%s was deleted; its last state and its history stay.', upper(left(noun, 1)) || substr(noun, 2)),
        '{"type": "object",
          "properties": {"name": {"type": "string", "minLength": 1},
                         "deleted_at": {"type": "string", "format": "date-time"},
                         "reason": {"type": "string", "minLength": 1}}}',
        jsonb_strip_nulls(jsonb_build_object('name', example -> 'name', 'deleted_at', '2025-11-21T10:30:00Z')),
        requires => 'existing', starter_sees => starter_sees);
end
$function$;

-- Declares {type}.{collection}.added, .updated and .removed, and their inverses. noun: with its article, for descriptions; fields: schema
-- of the child's fields without its id; example: such data, with the id; change: an example of new values.
create function annals.declare_child(aggregate_type text, collection text, noun text, fields jsonb, example jsonb, change jsonb)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    prefix  constant text := aggregate_type || '.' || collection || '.';
    subject constant text := upper(left(noun, 1)) || substr(noun, 2);
    child   constant jsonb := fields || jsonb_build_object(
        'required', '["id"]' || coalesce(fields -> 'required', '[]'),
        'properties', fields -> 'properties' || '{"id": {"type": "string", "minLength": 1, "maxLength": 128}}');
begin
    -- Children are only added by their own events. A created event with a collection in its data would bypass the schemas of children.
    if not exists (select from annals.event_type_versions v
                    where v.event_type = declare_child.aggregate_type || '.created' and v.tenant_id is null
                      and v.schema -> 'properties' -> collection = 'false') then
        raise exception 'the schema of %.created must refuse the field %', aggregate_type, collection using errcode = 'invalid_object_definition';
    end if;
    perform annals.declare_event_type(
        prefix || 'added', jsonb_build_object('add_child', collection), array['staff', 'service'],
        format('%s was added.', subject), child, example, requires => 'existing');
    perform annals.declare_event_type(
        prefix || 'updated', jsonb_build_object('update_child', collection), array['staff', 'service'],
        format('Fields of %s were given new values.', noun), annals.partial_schema(child), jsonb_build_object('id', example -> 'id') || change,
        requires => 'existing');
    perform annals.declare_child_removed(aggregate_type, collection, noun, child, example);
    perform annals.declare_child_inverses(aggregate_type, collection);
end
$function$;

-- Declares {type}.{collection}.removed. child: schema of added's data; example: such data.
create function annals.declare_child_removed(aggregate_type text, collection text, noun text, child jsonb, example jsonb)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    partial constant jsonb := annals.partial_schema(child);
begin
    -- The id identifies the child. The other fields may be repeated for readers of the event.
    perform annals.declare_event_type(
        aggregate_type || '.' || collection || '.removed', jsonb_build_object('remove_child', collection), array['staff', 'service'],
        format('%s was removed; its history stays.', upper(left(noun, 1)) || substr(noun, 2)),
        partial || jsonb_build_object('minProperties', 1, 'properties', partial -> 'properties' || '{"reason": {"type": "string", "minLength": 1}}'),
        jsonb_build_object('id', example -> 'id', 'reason', 'added by mistake'), requires => 'existing');
end
$function$;

-- Declares that a collection's added and removed compensate each other, and that an updated compensates an updated.
create function annals.declare_child_inverses(aggregate_type text, collection text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    prefix constant text := aggregate_type || '.' || collection || '.';
begin
    perform annals.declare_inverse(prefix || 'added', jsonb_build_object('event_type', prefix || 'removed'));
    perform annals.declare_inverse(prefix || 'updated', jsonb_build_object('event_type', prefix || 'updated'));
    perform annals.declare_inverse(prefix || 'removed', jsonb_build_object('event_type', prefix || 'added'));
end
$function$;

-- Declares that an entity's created and deleted compensate each other, and that an updated compensates an updated.
create function annals.declare_entity_inverses(aggregate_type text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    perform annals.declare_inverse(aggregate_type || '.created', jsonb_build_object('event_type', aggregate_type || '.deleted'));
    perform annals.declare_inverse(aggregate_type || '.updated', jsonb_build_object('event_type', aggregate_type || '.updated'));
    perform annals.declare_inverse(aggregate_type || '.deleted', jsonb_build_object('event_type', aggregate_type || '.created'));
end
$function$;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- organization
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- State of organization streams.
create table public.organizations (
    -- Tenant that the entity belongs to.
    tenant_id uuid not null,
    -- The entity's id: aggregate_id of its stream.
    id text collate "C" not null,
    -- Version of the last event that is projected here.
    version integer not null,
    -- Actor of the stream's first event. Users and agents see what they started, as long as no event of it is hidden from them.
    started_by text collate "C" not null,
    -- Recorded time of the event that deleted the entity; null: not deleted.
    deleted_at timestamp with time zone,
    -- Recorded time of the stream's first event.
    created_at timestamp with time zone not null,
    -- Recorded time of the last event that is projected here.
    updated_at timestamp with time zone not null,
    -- Name in daily use.
    name text,
    -- Name in the register of companies.
    legal_name text,
    -- Legal form, e.g. corporation.
    type text,
    -- Email address for general mail.
    email text,
    -- Telephone number as given.
    phone text,
    -- Address of the website.
    website text,
    -- Postal address, in lines.
    address text,
    -- Country, as given.
    country text,
    constraint state_row_version CHECK ((version >= 1)),
    constraint organizations_pkey PRIMARY KEY (tenant_id, id)
);
alter table public.organizations enable row level security;
create policy organizations_read on public.organizations for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('organization'::text, id)))));
create policy organizations_project on public.organizations for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.organizations to annals_projector;
grant select on public.organizations to authenticated;

-- Upserts rows of public.organizations like annals.write_states, with a plan that is kept. Made by annals.make_state_writer.
create function annals.fill_organizations(tenant_ids uuid[], ids text[], versions integer[], started_bys text[], deleted_ats timestamp with time zone[], created_ats timestamp with time zone[], updated_ats timestamp with time zone[], states jsonb[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
         begin
             if annals.columns_of('public.organizations') <> 'tenant_id 2950, id 25, version 23, started_by 25, deleted_at 1184, created_at 1184, updated_at 1184, name 25, legal_name 25, type 25, email 25, phone 25, website 25, address 25, country 25' then
                 perform annals.write_states('public.organizations', tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states);
                 return;
             end if;
             insert into public.organizations as t (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, name, legal_name, type, email, phone, website, address, country)
             select u.tenant_id, u.id, u.version, u.started_by, u.deleted_at, u.created_at, u.updated_at, s.name, s.legal_name, s.type, s.email, s.phone, s.website, s.address, s.country
               from unnest(tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states)
                    as u (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, source)
              cross join lateral jsonb_populate_record(null::public.organizations, u.source - '{tenant_id,id,version,started_by,deleted_at,created_at,updated_at,version}'::text[]) as s
             on conflict (tenant_id, id) do update
                set version = excluded.version, deleted_at = excluded.deleted_at, updated_at = excluded.updated_at, name = excluded.name, legal_name = excluded.legal_name, type = excluded.type, email = excluded.email, phone = excluded.phone, website = excluded.website, address = excluded.address, country = excluded.country;
         end
         $function$;
grant execute on function annals.fill_organizations(uuid[],text[],integer[],text[],timestamp with time zone[],timestamp with time zone[],timestamp with time zone[],jsonb[]) to annals_projector;

-- GST registrations of organizations: collection gst.
create table public.organization_gst_registrations (
    -- Tenant that the parent belongs to.
    tenant_id uuid not null,
    -- The child's id, unique within its parent and collection.
    id text collate "C" not null,
    -- Actor of the first event of the parent's stream; users and agents see what they started.
    started_by text collate "C" not null,
    -- Id of the organization that it belongs to.
    organization_id text collate "C" not null,
    -- GST identification number: state code, PAN, entity number, Z, check digit.
    gstin text,
    -- Name that the registration is held under.
    legal_name text,
    -- Indian state of the registration.
    state text,
    -- Day from which the registration is valid.
    registered_on date,
    -- Whether invoices use it by default.
    is_primary boolean,
    constraint organization_gst_registrations_gstin CHECK ((gstin ~ '^[0-9]{2}[A-Z]{5}[0-9]{4}[A-Z][1-9A-Z]Z[0-9A-Z]$'::text)),
    constraint organization_gst_registrations_pkey PRIMARY KEY (tenant_id, organization_id, id)
);
alter table public.organization_gst_registrations enable row level security;
create policy organization_gst_registrations_read on public.organization_gst_registrations for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('organization'::text, organization_id)))));
create policy organization_gst_registrations_project on public.organization_gst_registrations for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.organization_gst_registrations to annals_projector;
grant select on public.organization_gst_registrations to authenticated;

-- Bank accounts of organizations: collection bank_account.
create table public.organization_bank_accounts (
    -- Tenant that the parent belongs to.
    tenant_id uuid not null,
    -- The child's id, unique within its parent and collection.
    id text collate "C" not null,
    -- Actor of the first event of the parent's stream; users and agents see what they started.
    started_by text collate "C" not null,
    -- Id of the organization that it belongs to.
    organization_id text collate "C" not null,
    -- Name of the bank.
    bank_name text,
    -- Account number or IBAN, as the bank writes it.
    account_number text,
    -- Name that the account is held under.
    account_holder text,
    -- Indian Financial System Code of the branch.
    ifsc text,
    -- Name of the branch.
    branch text,
    -- Currency of the account, ISO 4217.
    currency text,
    -- Whether payments use it by default.
    is_primary boolean,
    constraint organization_bank_accounts_ifsc CHECK ((ifsc ~ '^[A-Z]{4}0[A-Z0-9]{6}$'::text)),
    constraint organization_bank_accounts_currency CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    constraint organization_bank_accounts_pkey PRIMARY KEY (tenant_id, organization_id, id)
);
alter table public.organization_bank_accounts enable row level security;
create policy organization_bank_accounts_read on public.organization_bank_accounts for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('organization'::text, organization_id)))));
create policy organization_bank_accounts_project on public.organization_bank_accounts for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.organization_bank_accounts to annals_projector;
grant select on public.organization_bank_accounts to authenticated;

-- Financial years of organizations: collection financial_year.
create table public.organization_financial_years (
    -- Tenant that the parent belongs to.
    tenant_id uuid not null,
    -- The child's id, unique within its parent and collection.
    id text collate "C" not null,
    -- Actor of the first event of the parent's stream; users and agents see what they started.
    started_by text collate "C" not null,
    -- Id of the organization that it belongs to.
    organization_id text collate "C" not null,
    -- Name in daily use, e.g. FY 2025-26.
    name text,
    -- First day.
    start_date date,
    -- Last day.
    end_date date,
    -- Whether it is the current year of the books.
    is_current boolean,
    constraint organization_financial_years_order CHECK ((start_date < end_date)),
    constraint organization_financial_years_pkey PRIMARY KEY (tenant_id, organization_id, id)
);
alter table public.organization_financial_years enable row level security;
create policy organization_financial_years_read on public.organization_financial_years for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('organization'::text, organization_id)))));
create policy organization_financial_years_project on public.organization_financial_years for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.organization_financial_years to annals_projector;
grant select on public.organization_financial_years to authenticated;

-- Number series of organizations' documents: collection document_series.
create table public.organization_document_series (
    -- Tenant that the parent belongs to.
    tenant_id uuid not null,
    -- The child's id, unique within its parent and collection.
    id text collate "C" not null,
    -- Actor of the first event of the parent's stream; users and agents see what they started.
    started_by text collate "C" not null,
    -- Id of the organization that it belongs to.
    organization_id text collate "C" not null,
    -- Kind of document, e.g. invoice.
    document_type text,
    -- Text before the number.
    prefix text,
    -- Number of the next document.
    next_number bigint,
    -- Financial year (a child of the same organization) that the series is for.
    financial_year_id text,
    constraint organization_document_series_next_number CHECK ((next_number >= 1)),
    constraint organization_document_series_pkey PRIMARY KEY (tenant_id, organization_id, id)
);
alter table public.organization_document_series enable row level security;
create policy organization_document_series_read on public.organization_document_series for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('organization'::text, organization_id)))));
create policy organization_document_series_project on public.organization_document_series for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.organization_document_series to annals_projector;
grant select on public.organization_document_series to authenticated;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- product
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- State of product streams.
create table public.products (
    -- Tenant that the entity belongs to.
    tenant_id uuid not null,
    -- The entity's id: aggregate_id of its stream.
    id text collate "C" not null,
    -- Version of the last event that is projected here.
    version integer not null,
    -- Actor of the stream's first event. Users and agents see what they started, as long as no event of it is hidden from them.
    started_by text collate "C" not null,
    -- Recorded time of the event that deleted the entity; null: not deleted.
    deleted_at timestamp with time zone,
    -- Recorded time of the stream's first event.
    created_at timestamp with time zone not null,
    -- Recorded time of the last event that is projected here.
    updated_at timestamp with time zone not null,
    -- Stock keeping unit.
    sku text,
    -- Name shown to customers.
    name text,
    -- Description shown to customers.
    description text,
    -- Category, as given.
    category text,
    -- Price before discounts, in units of the currency, exactly as given.
    base_price numeric,
    -- Currency of the price, ISO 4217.
    currency text,
    -- Quantity in stock.
    stock numeric,
    constraint products_base_price CHECK ((base_price >= (0)::numeric)),
    constraint products_currency CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    constraint products_stock CHECK ((stock >= (0)::numeric)),
    constraint state_row_version CHECK ((version >= 1)),
    constraint products_pkey PRIMARY KEY (tenant_id, id)
);
alter table public.products enable row level security;
create policy products_read on public.products for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('product'::text, id)))));
create policy products_project on public.products for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.products to annals_projector;
grant select on public.products to authenticated;

-- Upserts rows of public.products like annals.write_states, with a plan that is kept. Made by annals.make_state_writer.
create function annals.fill_products(tenant_ids uuid[], ids text[], versions integer[], started_bys text[], deleted_ats timestamp with time zone[], created_ats timestamp with time zone[], updated_ats timestamp with time zone[], states jsonb[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
         begin
             if annals.columns_of('public.products') <> 'tenant_id 2950, id 25, version 23, started_by 25, deleted_at 1184, created_at 1184, updated_at 1184, sku 25, name 25, description 25, category 25, base_price 1700, currency 25, stock 1700' then
                 perform annals.write_states('public.products', tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states);
                 return;
             end if;
             insert into public.products as t (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, sku, name, description, category, base_price, currency, stock)
             select u.tenant_id, u.id, u.version, u.started_by, u.deleted_at, u.created_at, u.updated_at, s.sku, s.name, s.description, s.category, s.base_price, s.currency, s.stock
               from unnest(tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states)
                    as u (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, source)
              cross join lateral jsonb_populate_record(null::public.products, u.source - '{tenant_id,id,version,started_by,deleted_at,created_at,updated_at,version}'::text[]) as s
             on conflict (tenant_id, id) do update
                set version = excluded.version, deleted_at = excluded.deleted_at, updated_at = excluded.updated_at, sku = excluded.sku, name = excluded.name, description = excluded.description, category = excluded.category, base_price = excluded.base_price, currency = excluded.currency, stock = excluded.stock;
         end
         $function$;
grant execute on function annals.fill_products(uuid[],text[],integer[],text[],timestamp with time zone[],timestamp with time zone[],timestamp with time zone[],jsonb[]) to annals_projector;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- order
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- State of order streams.
create table public.orders (
    -- Tenant that the entity belongs to.
    tenant_id uuid not null,
    -- The entity's id: aggregate_id of its stream.
    id text collate "C" not null,
    -- Version of the last event that is projected here.
    version integer not null,
    -- Actor of the stream's first event. Users and agents see what they started, as long as no event of it is hidden from them.
    started_by text collate "C" not null,
    -- Recorded time of the event that deleted the entity; null: not deleted.
    deleted_at timestamp with time zone,
    -- Recorded time of the stream's first event.
    created_at timestamp with time zone not null,
    -- Recorded time of the last event that is projected here.
    updated_at timestamp with time zone not null,
    -- Customer who ordered.
    customer_id text,
    -- What was ordered: an array of objects with sku, quantity and unit_price_cents.
    items jsonb,
    -- Price of the order, in minor units of the currency.
    total_cents bigint,
    -- Currency of all amounts, ISO 4217.
    currency text,
    -- Status of the order, one lower-case word: placed, shipped, fulfilled …
    status text,
    -- received once a payment came in; null before.
    payment_status text,
    -- Amount of the last payment, in minor units of the currency.
    last_payment_cents bigint,
    -- The carrier's number for the shipment.
    tracking_number text,
    -- Anything else.
    notes text,
    constraint orders_items CHECK ((jsonb_typeof(items) = 'array'::text)),
    constraint orders_total_cents CHECK ((total_cents >= 0)),
    constraint orders_currency CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    constraint orders_last_payment_cents CHECK ((last_payment_cents >= 1)),
    constraint state_row_version CHECK ((version >= 1)),
    constraint orders_pkey PRIMARY KEY (tenant_id, id)
);
alter table public.orders enable row level security;
create policy orders_read on public.orders for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('order'::text, id)))));
create policy orders_project on public.orders for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.orders to annals_projector;
grant select on public.orders to authenticated;

-- Upserts rows of public.orders like annals.write_states, with a plan that is kept. Made by annals.make_state_writer.
create function annals.fill_orders(tenant_ids uuid[], ids text[], versions integer[], started_bys text[], deleted_ats timestamp with time zone[], created_ats timestamp with time zone[], updated_ats timestamp with time zone[], states jsonb[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
         begin
             if annals.columns_of('public.orders') <> 'tenant_id 2950, id 25, version 23, started_by 25, deleted_at 1184, created_at 1184, updated_at 1184, customer_id 25, items 3802, total_cents 20, currency 25, status 25, payment_status 25, last_payment_cents 20, tracking_number 25, notes 25' then
                 perform annals.write_states('public.orders', tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states);
                 return;
             end if;
             insert into public.orders as t (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, customer_id, items, total_cents, currency, status, payment_status, last_payment_cents, tracking_number, notes)
             select u.tenant_id, u.id, u.version, u.started_by, u.deleted_at, u.created_at, u.updated_at, s.customer_id, s.items, trim_scale((u.source ->> 'total_cents')::numeric)::text::bigint, s.currency, s.status, s.payment_status, trim_scale((u.source ->> 'last_payment_cents')::numeric)::text::bigint, s.tracking_number, s.notes
               from unnest(tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states)
                    as u (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, source)
              cross join lateral jsonb_populate_record(null::public.orders, u.source - '{tenant_id,id,version,started_by,deleted_at,created_at,updated_at,version,total_cents,last_payment_cents}'::text[]) as s
             on conflict (tenant_id, id) do update
                set version = excluded.version, deleted_at = excluded.deleted_at, updated_at = excluded.updated_at, customer_id = excluded.customer_id, items = excluded.items, total_cents = excluded.total_cents, currency = excluded.currency, status = excluded.status, payment_status = excluded.payment_status, last_payment_cents = excluded.last_payment_cents, tracking_number = excluded.tracking_number, notes = excluded.notes;
         end
         $function$;
grant execute on function annals.fill_orders(uuid[],text[],integer[],text[],timestamp with time zone[],timestamp with time zone[],timestamp with time zone[],jsonb[]) to annals_projector;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- customer
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- State of customer streams.
create table public.customers (
    -- Tenant that the entity belongs to.
    tenant_id uuid not null,
    -- The entity's id: aggregate_id of its stream.
    id text collate "C" not null,
    -- Version of the last event that is projected here.
    version integer not null,
    -- Actor of the stream's first event. Users and agents see what they started, as long as no event of it is hidden from them.
    started_by text collate "C" not null,
    -- Recorded time of the event that deleted the entity; null: not deleted.
    deleted_at timestamp with time zone,
    -- Recorded time of the stream's first event.
    created_at timestamp with time zone not null,
    -- Recorded time of the last event that is projected here.
    updated_at timestamp with time zone not null,
    -- Full name.
    name text,
    -- Email address.
    email text,
    -- Telephone number as given.
    phone text,
    -- Market segment, e.g. Consumer.
    segment text,
    -- Country, as given.
    country text,
    -- Postal address, in lines.
    address text,
    -- Day since which the business knows the customer.
    created_date date,
    constraint state_row_version CHECK ((version >= 1)),
    constraint customers_pkey PRIMARY KEY (tenant_id, id)
);
alter table public.customers enable row level security;
create policy customers_read on public.customers for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('customer'::text, id)))));
create policy customers_project on public.customers for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.customers to annals_projector;
grant select on public.customers to authenticated;

-- Upserts rows of public.customers like annals.write_states, with a plan that is kept. Made by annals.make_state_writer.
create function annals.fill_customers(tenant_ids uuid[], ids text[], versions integer[], started_bys text[], deleted_ats timestamp with time zone[], created_ats timestamp with time zone[], updated_ats timestamp with time zone[], states jsonb[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
         begin
             if annals.columns_of('public.customers') <> 'tenant_id 2950, id 25, version 23, started_by 25, deleted_at 1184, created_at 1184, updated_at 1184, name 25, email 25, phone 25, segment 25, country 25, address 25, created_date 1082' then
                 perform annals.write_states('public.customers', tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states);
                 return;
             end if;
             insert into public.customers as t (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, name, email, phone, segment, country, address, created_date)
             select u.tenant_id, u.id, u.version, u.started_by, u.deleted_at, u.created_at, u.updated_at, s.name, s.email, s.phone, s.segment, s.country, s.address, s.created_date
               from unnest(tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states)
                    as u (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, source)
              cross join lateral jsonb_populate_record(null::public.customers, u.source - '{tenant_id,id,version,started_by,deleted_at,created_at,updated_at,version}'::text[]) as s
             on conflict (tenant_id, id) do update
                set version = excluded.version, deleted_at = excluded.deleted_at, updated_at = excluded.updated_at, name = excluded.name, email = excluded.email, phone = excluded.phone, segment = excluded.segment, country = excluded.country, address = excluded.address, created_date = excluded.created_date;
         end
         $function$;
grant execute on function annals.fill_customers(uuid[],text[],integer[],text[],timestamp with time zone[],timestamp with time zone[],timestamp with time zone[],jsonb[]) to annals_projector;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- dealer
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- State of dealer streams.
create table public.dealers (
    -- Tenant that the entity belongs to.
    tenant_id uuid not null,
    -- The entity's id: aggregate_id of its stream.
    id text collate "C" not null,
    -- Version of the last event that is projected here.
    version integer not null,
    -- Actor of the stream's first event. Users and agents see what they started, as long as no event of it is hidden from them.
    started_by text collate "C" not null,
    -- Recorded time of the event that deleted the entity; null: not deleted.
    deleted_at timestamp with time zone,
    -- Recorded time of the stream's first event.
    created_at timestamp with time zone not null,
    -- Recorded time of the last event that is projected here.
    updated_at timestamp with time zone not null,
    -- Name of the business.
    name text,
    -- Name of the contact person.
    contact_name text,
    -- Email address.
    email text,
    -- Telephone number as given.
    phone text,
    -- Where the dealer sells.
    territory text,
    -- submitted, approved, rejected or suspended.
    status text,
    -- Price list of the dealer, e.g. gold.
    pricing_tier text,
    -- Discount on base prices, in percent.
    discount_percent numeric,
    constraint dealers_status CHECK ((status = ANY (ARRAY['submitted'::text, 'approved'::text, 'rejected'::text, 'suspended'::text]))),
    constraint dealers_discount_percent CHECK (((discount_percent >= (0)::numeric) AND (discount_percent <= (100)::numeric))),
    constraint state_row_version CHECK ((version >= 1)),
    constraint dealers_pkey PRIMARY KEY (tenant_id, id)
);
alter table public.dealers enable row level security;
create policy dealers_read on public.dealers for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('dealer'::text, id)))));
create policy dealers_project on public.dealers for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.dealers to annals_projector;
grant select on public.dealers to authenticated;

-- Upserts rows of public.dealers like annals.write_states, with a plan that is kept. Made by annals.make_state_writer.
create function annals.fill_dealers(tenant_ids uuid[], ids text[], versions integer[], started_bys text[], deleted_ats timestamp with time zone[], created_ats timestamp with time zone[], updated_ats timestamp with time zone[], states jsonb[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
         begin
             if annals.columns_of('public.dealers') <> 'tenant_id 2950, id 25, version 23, started_by 25, deleted_at 1184, created_at 1184, updated_at 1184, name 25, contact_name 25, email 25, phone 25, territory 25, status 25, pricing_tier 25, discount_percent 1700' then
                 perform annals.write_states('public.dealers', tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states);
                 return;
             end if;
             insert into public.dealers as t (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, name, contact_name, email, phone, territory, status, pricing_tier, discount_percent)
             select u.tenant_id, u.id, u.version, u.started_by, u.deleted_at, u.created_at, u.updated_at, s.name, s.contact_name, s.email, s.phone, s.territory, s.status, s.pricing_tier, s.discount_percent
               from unnest(tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states)
                    as u (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, source)
              cross join lateral jsonb_populate_record(null::public.dealers, u.source - '{tenant_id,id,version,started_by,deleted_at,created_at,updated_at,version}'::text[]) as s
             on conflict (tenant_id, id) do update
                set version = excluded.version, deleted_at = excluded.deleted_at, updated_at = excluded.updated_at, name = excluded.name, contact_name = excluded.contact_name, email = excluded.email, phone = excluded.phone, territory = excluded.territory, status = excluded.status, pricing_tier = excluded.pricing_tier, discount_percent = excluded.discount_percent;
         end
         $function$;
grant execute on function annals.fill_dealers(uuid[],text[],integer[],text[],timestamp with time zone[],timestamp with time zone[],timestamp with time zone[],jsonb[]) to annals_projector;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- agent
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- State of agent streams: one proposed decision each. started_by is the agent.
create table public.agent_decisions (
    -- Tenant that the entity belongs to.
    tenant_id uuid not null,
    -- The entity's id: aggregate_id of its stream.
    id text collate "C" not null,
    -- Version of the last event that is projected here.
    version integer not null,
    -- Actor of the stream's first event. Users and agents see what they started, as long as no event of it is hidden from them.
    started_by text collate "C" not null,
    -- Recorded time of the event that deleted the entity; null: not deleted.
    deleted_at timestamp with time zone,
    -- Recorded time of the stream's first event.
    created_at timestamp with time zone not null,
    -- Recorded time of the last event that is projected here.
    updated_at timestamp with time zone not null,
    -- What the agent proposes to do.
    decision text,
    -- Reason, in the agent's words.
    rationale text,
    -- How sure the agent is, from 0 to 1.
    confidence numeric,
    -- Aggregate type that the decision is about.
    subject_type text,
    -- Id of the aggregate that the decision is about.
    subject_id text,
    -- The proposal in machine-readable form, e.g. the event to post once it is approved.
    proposal jsonb,
    -- proposed, approved or rejected.
    status text,
    -- Why it was approved or rejected.
    answer text,
    constraint agent_decisions_confidence CHECK (((confidence >= (0)::numeric) AND (confidence <= (1)::numeric))),
    constraint agent_decisions_proposal CHECK ((jsonb_typeof(proposal) = 'object'::text)),
    constraint agent_decisions_status CHECK ((status = ANY (ARRAY['proposed'::text, 'approved'::text, 'rejected'::text]))),
    constraint state_row_version CHECK ((version >= 1)),
    constraint agent_decisions_pkey PRIMARY KEY (tenant_id, id)
);
alter table public.agent_decisions enable row level security;
create policy agent_decisions_read on public.agent_decisions for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('agent'::text, id)))));
create policy agent_decisions_project on public.agent_decisions for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.agent_decisions to annals_projector;
grant select on public.agent_decisions to authenticated;

-- Upserts rows of public.agent_decisions like annals.write_states, with a plan that is kept. Made by annals.make_state_writer.
create function annals.fill_agent_decisions(tenant_ids uuid[], ids text[], versions integer[], started_bys text[], deleted_ats timestamp with time zone[], created_ats timestamp with time zone[], updated_ats timestamp with time zone[], states jsonb[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
         begin
             if annals.columns_of('public.agent_decisions') <> 'tenant_id 2950, id 25, version 23, started_by 25, deleted_at 1184, created_at 1184, updated_at 1184, decision 25, rationale 25, confidence 1700, subject_type 25, subject_id 25, proposal 3802, status 25, answer 25' then
                 perform annals.write_states('public.agent_decisions', tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states);
                 return;
             end if;
             insert into public.agent_decisions as t (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, decision, rationale, confidence, subject_type, subject_id, proposal, status, answer)
             select u.tenant_id, u.id, u.version, u.started_by, u.deleted_at, u.created_at, u.updated_at, s.decision, s.rationale, s.confidence, s.subject_type, s.subject_id, s.proposal, s.status, s.answer
               from unnest(tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states)
                    as u (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, source)
              cross join lateral jsonb_populate_record(null::public.agent_decisions, u.source - '{tenant_id,id,version,started_by,deleted_at,created_at,updated_at,version}'::text[]) as s
             on conflict (tenant_id, id) do update
                set version = excluded.version, deleted_at = excluded.deleted_at, updated_at = excluded.updated_at, decision = excluded.decision, rationale = excluded.rationale, confidence = excluded.confidence, subject_type = excluded.subject_type, subject_id = excluded.subject_id, proposal = excluded.proposal, status = excluded.status, answer = excluded.answer;
         end
         $function$;
grant execute on function annals.fill_agent_decisions(uuid[],text[],integer[],text[],timestamp with time zone[],timestamp with time zone[],timestamp with time zone[],jsonb[]) to annals_projector;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- sale
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- State of sale streams.
create table public.sales (
    -- Tenant that the entity belongs to.
    tenant_id uuid not null,
    -- The entity's id: aggregate_id of its stream.
    id text collate "C" not null,
    -- Version of the last event that is projected here.
    version integer not null,
    -- Actor of the stream's first event. Users and agents see what they started, as long as no event of it is hidden from them.
    started_by text collate "C" not null,
    -- Recorded time of the event that deleted the entity; null: not deleted.
    deleted_at timestamp with time zone,
    -- Recorded time of the stream's first event.
    created_at timestamp with time zone not null,
    -- Recorded time of the last event that is projected here.
    updated_at timestamp with time zone not null,
    -- Amount paid, in minor units of the currency; zero and negative amounts are sales too.
    amount_cents bigint,
    -- Currency of the amount and the unit price, ISO 4217.
    currency text,
    -- Day of the sale.
    sale_date date,
    -- Customer who bought.
    customer_id text,
    -- What was sold, as given.
    product text,
    -- How much of it.
    quantity numeric,
    -- Price of one, in units of the currency, exactly as given.
    unit_price numeric,
    -- Category of the product, as given.
    category text,
    -- Anything else.
    notes text,
    constraint sales_currency CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    constraint state_row_version CHECK ((version >= 1)),
    constraint sales_pkey PRIMARY KEY (tenant_id, id)
);
CREATE TRIGGER sales_inserted AFTER INSERT ON public.sales REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION annals.record_sale_changes();
CREATE TRIGGER sales_updated AFTER UPDATE ON public.sales REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION annals.record_sale_changes();
CREATE TRIGGER sales_deleted AFTER DELETE ON public.sales REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION annals.record_sale_changes();
alter table public.sales enable row level security;
create policy sales_read on public.sales for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('sale'::text, id)))));
create policy sales_project on public.sales for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.sales to annals_projector;
grant select on public.sales to authenticated;

-- Upserts rows of public.sales like annals.write_states, with a plan that is kept. Made by annals.make_state_writer.
create function annals.fill_sales(tenant_ids uuid[], ids text[], versions integer[], started_bys text[], deleted_ats timestamp with time zone[], created_ats timestamp with time zone[], updated_ats timestamp with time zone[], states jsonb[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
         begin
             if annals.columns_of('public.sales') <> 'tenant_id 2950, id 25, version 23, started_by 25, deleted_at 1184, created_at 1184, updated_at 1184, amount_cents 20, currency 25, sale_date 1082, customer_id 25, product 25, quantity 1700, unit_price 1700, category 25, notes 25' then
                 perform annals.write_states('public.sales', tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states);
                 return;
             end if;
             insert into public.sales as t (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, amount_cents, currency, sale_date, customer_id, product, quantity, unit_price, category, notes)
             select u.tenant_id, u.id, u.version, u.started_by, u.deleted_at, u.created_at, u.updated_at, trim_scale((u.source ->> 'amount_cents')::numeric)::text::bigint, s.currency, s.sale_date, s.customer_id, s.product, s.quantity, s.unit_price, s.category, s.notes
               from unnest(tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states)
                    as u (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, source)
              cross join lateral jsonb_populate_record(null::public.sales, u.source - '{tenant_id,id,version,started_by,deleted_at,created_at,updated_at,version,amount_cents}'::text[]) as s
             on conflict (tenant_id, id) do update
                set version = excluded.version, deleted_at = excluded.deleted_at, updated_at = excluded.updated_at, amount_cents = excluded.amount_cents, currency = excluded.currency, sale_date = excluded.sale_date, customer_id = excluded.customer_id, product = excluded.product, quantity = excluded.quantity, unit_price = excluded.unit_price, category = excluded.category, notes = excluded.notes;
         end
         $function$;
grant execute on function annals.fill_sales(uuid[],text[],integer[],text[],timestamp with time zone[],timestamp with time zone[],timestamp with time zone[],jsonb[]) to annals_projector;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- price
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- State of price streams.
create table public.prices (
    -- Tenant that the entity belongs to.
    tenant_id uuid not null,
    -- The entity's id: aggregate_id of its stream.
    id text collate "C" not null,
    -- Version of the last event that is projected here.
    version integer not null,
    -- Actor of the stream's first event. Users and agents see what they started, as long as no event of it is hidden from them.
    started_by text collate "C" not null,
    -- Recorded time of the event that deleted the entity; null: not deleted.
    deleted_at timestamp with time zone,
    -- Recorded time of the stream's first event.
    created_at timestamp with time zone not null,
    -- Recorded time of the last event that is projected here.
    updated_at timestamp with time zone not null,
    -- Product that the price is for.
    product_id text,
    -- The price, in units of the currency, exactly as given.
    price numeric,
    -- Currency of the price, ISO 4217.
    currency text,
    -- Reason of the last change.
    reason text,
    -- First day on which it applies.
    effective_date date,
    constraint prices_price CHECK ((price >= (0)::numeric)),
    constraint prices_currency CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    constraint state_row_version CHECK ((version >= 1)),
    constraint prices_pkey PRIMARY KEY (tenant_id, id)
);
alter table public.prices enable row level security;
create policy prices_read on public.prices for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('price'::text, id)))));
create policy prices_project on public.prices for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.prices to annals_projector;
grant select on public.prices to authenticated;

-- Upserts rows of public.prices like annals.write_states, with a plan that is kept. Made by annals.make_state_writer.
create function annals.fill_prices(tenant_ids uuid[], ids text[], versions integer[], started_bys text[], deleted_ats timestamp with time zone[], created_ats timestamp with time zone[], updated_ats timestamp with time zone[], states jsonb[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
         begin
             if annals.columns_of('public.prices') <> 'tenant_id 2950, id 25, version 23, started_by 25, deleted_at 1184, created_at 1184, updated_at 1184, product_id 25, price 1700, currency 25, reason 25, effective_date 1082' then
                 perform annals.write_states('public.prices', tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states);
                 return;
             end if;
             insert into public.prices as t (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, product_id, price, currency, reason, effective_date)
             select u.tenant_id, u.id, u.version, u.started_by, u.deleted_at, u.created_at, u.updated_at, s.product_id, s.price, s.currency, s.reason, s.effective_date
               from unnest(tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states)
                    as u (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, source)
              cross join lateral jsonb_populate_record(null::public.prices, u.source - '{tenant_id,id,version,started_by,deleted_at,created_at,updated_at,version}'::text[]) as s
             on conflict (tenant_id, id) do update
                set version = excluded.version, deleted_at = excluded.deleted_at, updated_at = excluded.updated_at, product_id = excluded.product_id, price = excluded.price, currency = excluded.currency, reason = excluded.reason, effective_date = excluded.effective_date;
         end
         $function$;
grant execute on function annals.fill_prices(uuid[],text[],integer[],text[],timestamp with time zone[],timestamp with time zone[],timestamp with time zone[],jsonb[]) to annals_projector;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- commodity
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- State of commodity streams.
create table public.commodities (
    -- Tenant that the entity belongs to.
    tenant_id uuid not null,
    -- The entity's id: aggregate_id of its stream.
    id text collate "C" not null,
    -- Version of the last event that is projected here.
    version integer not null,
    -- Actor of the stream's first event. Users and agents see what they started, as long as no event of it is hidden from them.
    started_by text collate "C" not null,
    -- Recorded time of the event that deleted the entity; null: not deleted.
    deleted_at timestamp with time zone,
    -- Recorded time of the stream's first event.
    created_at timestamp with time zone not null,
    -- Recorded time of the last event that is projected here.
    updated_at timestamp with time zone not null,
    -- Name in the trade, e.g. Raw Cotton.
    name text,
    -- Short name in contracts and lists.
    code text,
    -- Category, as given.
    category text,
    -- Code in the Harmonized System of Nomenclature: chapter, heading, subheading, tariff item, two digits each.
    hsn_code text,
    -- Human-readable description.
    description text,
    -- Whether it is traded at present.
    is_active boolean,
    constraint commodities_hsn_code CHECK ((hsn_code ~ '^([0-9]{2}){1,4}$'::text)),
    constraint state_row_version CHECK ((version >= 1)),
    constraint commodities_pkey PRIMARY KEY (tenant_id, id)
);
alter table public.commodities enable row level security;
create policy commodities_read on public.commodities for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('commodity'::text, id)))));
create policy commodities_project on public.commodities for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.commodities to annals_projector;
grant select on public.commodities to authenticated;

-- Upserts rows of public.commodities like annals.write_states, with a plan that is kept. Made by annals.make_state_writer.
create function annals.fill_commodities(tenant_ids uuid[], ids text[], versions integer[], started_bys text[], deleted_ats timestamp with time zone[], created_ats timestamp with time zone[], updated_ats timestamp with time zone[], states jsonb[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
         begin
             if annals.columns_of('public.commodities') <> 'tenant_id 2950, id 25, version 23, started_by 25, deleted_at 1184, created_at 1184, updated_at 1184, name 25, code 25, category 25, hsn_code 25, description 25, is_active 16' then
                 perform annals.write_states('public.commodities', tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states);
                 return;
             end if;
             insert into public.commodities as t (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, name, code, category, hsn_code, description, is_active)
             select u.tenant_id, u.id, u.version, u.started_by, u.deleted_at, u.created_at, u.updated_at, s.name, s.code, s.category, s.hsn_code, s.description, s.is_active
               from unnest(tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states)
                    as u (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, source)
              cross join lateral jsonb_populate_record(null::public.commodities, u.source - '{tenant_id,id,version,started_by,deleted_at,created_at,updated_at,version}'::text[]) as s
             on conflict (tenant_id, id) do update
                set version = excluded.version, deleted_at = excluded.deleted_at, updated_at = excluded.updated_at, name = excluded.name, code = excluded.code, category = excluded.category, hsn_code = excluded.hsn_code, description = excluded.description, is_active = excluded.is_active;
         end
         $function$;
grant execute on function annals.fill_commodities(uuid[],text[],integer[],text[],timestamp with time zone[],timestamp with time zone[],timestamp with time zone[],jsonb[]) to annals_projector;

-- Varieties of commodities: collection variety.
create table public.commodity_varieties (
    -- Tenant that the parent belongs to.
    tenant_id uuid not null,
    -- The child's id, unique within its parent and collection.
    id text collate "C" not null,
    -- Actor of the first event of the parent's stream; users and agents see what they started.
    started_by text collate "C" not null,
    -- Id of the commodity that it belongs to.
    commodity_id text collate "C" not null,
    -- Name, e.g. Shankar-6.
    name text,
    -- Short name in contracts and lists.
    code text,
    -- What distinguishes it from others.
    description text,
    -- Whether it is traded at present.
    is_active boolean,
    constraint commodity_varieties_pkey PRIMARY KEY (tenant_id, commodity_id, id)
);
alter table public.commodity_varieties enable row level security;
create policy commodity_varieties_read on public.commodity_varieties for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('commodity'::text, commodity_id)))));
create policy commodity_varieties_project on public.commodity_varieties for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.commodity_varieties to annals_projector;
grant select on public.commodity_varieties to authenticated;

-- Quality parameters of commodities: collection parameter.
create table public.commodity_parameters (
    -- Tenant that the parent belongs to.
    tenant_id uuid not null,
    -- The child's id, unique within its parent and collection.
    id text collate "C" not null,
    -- Actor of the first event of the parent's stream; users and agents see what they started.
    started_by text collate "C" not null,
    -- Id of the commodity that it belongs to.
    commodity_id text collate "C" not null,
    -- What is measured, e.g. staple length.
    name text,
    -- Unit of the values, e.g. mm or %.
    unit text,
    -- Least value that passes.
    min_value numeric,
    -- Greatest value that passes.
    max_value numeric,
    -- Whether a contract must agree on it.
    is_mandatory boolean,
    constraint commodity_parameters_pkey PRIMARY KEY (tenant_id, commodity_id, id)
);
alter table public.commodity_parameters enable row level security;
create policy commodity_parameters_read on public.commodity_parameters for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('commodity'::text, commodity_id)))));
create policy commodity_parameters_project on public.commodity_parameters for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.commodity_parameters to annals_projector;
grant select on public.commodity_parameters to authenticated;

-- Taxes on commodities: collection tax_rate.
create table public.commodity_tax_rates (
    -- Tenant that the parent belongs to.
    tenant_id uuid not null,
    -- The child's id, unique within its parent and collection.
    id text collate "C" not null,
    -- Actor of the first event of the parent's stream; users and agents see what they started.
    started_by text collate "C" not null,
    -- Id of the commodity that it belongs to.
    commodity_id text collate "C" not null,
    -- The tax, e.g. GST.
    name text,
    -- Rate in percent.
    rate numeric,
    -- First day on which it applies.
    effective_from date,
    -- Last day on which it applies; null: until further notice.
    effective_to date,
    constraint commodity_tax_rates_rate CHECK (((rate >= (0)::numeric) AND (rate <= (1000)::numeric))),
    constraint commodity_tax_rates_pkey PRIMARY KEY (tenant_id, commodity_id, id)
);
alter table public.commodity_tax_rates enable row level security;
create policy commodity_tax_rates_read on public.commodity_tax_rates for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('commodity'::text, commodity_id)))));
create policy commodity_tax_rates_project on public.commodity_tax_rates for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.commodity_tax_rates to annals_projector;
grant select on public.commodity_tax_rates to authenticated;

-- Units that commodities are traded in: collection unit.
create table public.commodity_units (
    -- Tenant that the parent belongs to.
    tenant_id uuid not null,
    -- The child's id, unique within its parent and collection.
    id text collate "C" not null,
    -- Actor of the first event of the parent's stream; users and agents see what they started.
    started_by text collate "C" not null,
    -- Id of the commodity that it belongs to.
    commodity_id text collate "C" not null,
    -- Name, e.g. candy.
    name text,
    -- Abbreviation in documents.
    symbol text,
    -- Unit into which the factor converts, e.g. kg.
    base_unit text,
    -- Number of base units in one unit.
    conversion_factor numeric,
    constraint commodity_units_conversion_factor CHECK ((conversion_factor > (0)::numeric)),
    constraint commodity_units_pkey PRIMARY KEY (tenant_id, commodity_id, id)
);
alter table public.commodity_units enable row level security;
create policy commodity_units_read on public.commodity_units for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('commodity'::text, commodity_id)))));
create policy commodity_units_project on public.commodity_units for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.commodity_units to annals_projector;
grant select on public.commodity_units to authenticated;

-- When commodities are paid: collection payment_term.
create table public.commodity_payment_terms (
    -- Tenant that the parent belongs to.
    tenant_id uuid not null,
    -- The child's id, unique within its parent and collection.
    id text collate "C" not null,
    -- Actor of the first event of the parent's stream; users and agents see what they started.
    started_by text collate "C" not null,
    -- Id of the commodity that it belongs to.
    commodity_id text collate "C" not null,
    -- Name in contracts, e.g. Net 15.
    name text,
    -- Days from delivery until payment is due.
    days integer,
    -- Share that is paid before delivery, in percent.
    advance_percent numeric,
    -- The term in words.
    description text,
    constraint commodity_payment_terms_days CHECK (((days >= 0) AND (days <= 3660))),
    constraint commodity_payment_terms_advance_percent CHECK (((advance_percent >= (0)::numeric) AND (advance_percent <= (100)::numeric))),
    constraint commodity_payment_terms_pkey PRIMARY KEY (tenant_id, commodity_id, id)
);
alter table public.commodity_payment_terms enable row level security;
create policy commodity_payment_terms_read on public.commodity_payment_terms for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('commodity'::text, commodity_id)))));
create policy commodity_payment_terms_project on public.commodity_payment_terms for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.commodity_payment_terms to annals_projector;
grant select on public.commodity_payment_terms to authenticated;

-- How commodities are delivered: collection delivery_term.
create table public.commodity_delivery_terms (
    -- Tenant that the parent belongs to.
    tenant_id uuid not null,
    -- The child's id, unique within its parent and collection.
    id text collate "C" not null,
    -- Actor of the first event of the parent's stream; users and agents see what they started.
    started_by text collate "C" not null,
    -- Id of the commodity that it belongs to.
    commodity_id text collate "C" not null,
    -- Name in contracts, e.g. ex gin or CIF.
    name text,
    -- Where the goods change hands.
    place text,
    -- Days from the bargain until delivery is due.
    days integer,
    -- The term in words.
    description text,
    constraint commodity_delivery_terms_days CHECK (((days >= 0) AND (days <= 3660))),
    constraint commodity_delivery_terms_pkey PRIMARY KEY (tenant_id, commodity_id, id)
);
alter table public.commodity_delivery_terms enable row level security;
create policy commodity_delivery_terms_read on public.commodity_delivery_terms for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('commodity'::text, commodity_id)))));
create policy commodity_delivery_terms_project on public.commodity_delivery_terms for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.commodity_delivery_terms to annals_projector;
grant select on public.commodity_delivery_terms to authenticated;

-- How the buyer inspects and passes commodities: collection passing_term.
create table public.commodity_passing_terms (
    -- Tenant that the parent belongs to.
    tenant_id uuid not null,
    -- The child's id, unique within its parent and collection.
    id text collate "C" not null,
    -- Actor of the first event of the parent's stream; users and agents see what they started.
    started_by text collate "C" not null,
    -- Id of the commodity that it belongs to.
    commodity_id text collate "C" not null,
    -- Name in contracts, e.g. passing at gin.
    name text,
    -- Where it is done.
    place text,
    -- Days within which it is done.
    days integer,
    -- The term in words.
    description text,
    constraint commodity_passing_terms_days CHECK (((days >= 0) AND (days <= 3660))),
    constraint commodity_passing_terms_pkey PRIMARY KEY (tenant_id, commodity_id, id)
);
alter table public.commodity_passing_terms enable row level security;
create policy commodity_passing_terms_read on public.commodity_passing_terms for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('commodity'::text, commodity_id)))));
create policy commodity_passing_terms_project on public.commodity_passing_terms for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.commodity_passing_terms to annals_projector;
grant select on public.commodity_passing_terms to authenticated;

-- Whose weighing of commodities counts: collection weightment_term.
create table public.commodity_weightment_terms (
    -- Tenant that the parent belongs to.
    tenant_id uuid not null,
    -- The child's id, unique within its parent and collection.
    id text collate "C" not null,
    -- Actor of the first event of the parent's stream; users and agents see what they started.
    started_by text collate "C" not null,
    -- Id of the commodity that it belongs to.
    commodity_id text collate "C" not null,
    -- Name in contracts, e.g. weight at mill.
    name text,
    -- Where it is weighed.
    place text,
    -- Difference that neither side claims, in percent.
    allowance_percent numeric,
    -- The term in words.
    description text,
    constraint commodity_weightment_terms_allowance_percent CHECK (((allowance_percent >= (0)::numeric) AND (allowance_percent <= (100)::numeric))),
    constraint commodity_weightment_terms_pkey PRIMARY KEY (tenant_id, commodity_id, id)
);
alter table public.commodity_weightment_terms enable row level security;
create policy commodity_weightment_terms_read on public.commodity_weightment_terms for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('commodity'::text, commodity_id)))));
create policy commodity_weightment_terms_project on public.commodity_weightment_terms for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.commodity_weightment_terms to annals_projector;
grant select on public.commodity_weightment_terms to authenticated;

-- Kinds of bargain that commodities are traded by: collection bargain_type.
create table public.commodity_bargain_types (
    -- Tenant that the parent belongs to.
    tenant_id uuid not null,
    -- The child's id, unique within its parent and collection.
    id text collate "C" not null,
    -- Actor of the first event of the parent's stream; users and agents see what they started.
    started_by text collate "C" not null,
    -- Id of the commodity that it belongs to.
    commodity_id text collate "C" not null,
    -- Name, e.g. spot or forward.
    name text,
    -- The kind in words.
    description text,
    -- Whether it is in use at present.
    is_active boolean,
    constraint commodity_bargain_types_pkey PRIMARY KEY (tenant_id, commodity_id, id)
);
alter table public.commodity_bargain_types enable row level security;
create policy commodity_bargain_types_read on public.commodity_bargain_types for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('commodity'::text, commodity_id)))));
create policy commodity_bargain_types_project on public.commodity_bargain_types for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.commodity_bargain_types to annals_projector;
grant select on public.commodity_bargain_types to authenticated;

-- What brokers of commodities earn: collection commission_structure.
create table public.commodity_commission_structures (
    -- Tenant that the parent belongs to.
    tenant_id uuid not null,
    -- The child's id, unique within its parent and collection.
    id text collate "C" not null,
    -- Actor of the first event of the parent's stream; users and agents see what they started.
    started_by text collate "C" not null,
    -- Id of the commodity that it belongs to.
    commodity_id text collate "C" not null,
    -- Name in contracts.
    name text,
    -- What the rate counts: percent, per_unit or flat.
    basis text,
    -- In percent, or in units of the currency, exactly as given.
    rate numeric,
    -- Currency of a rate that is no percentage, ISO 4217.
    currency text,
    -- buyer, seller or both.
    paid_by text,
    constraint commodity_commission_structures_rate CHECK ((rate >= (0)::numeric)),
    constraint commodity_commission_structures_currency CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    constraint commodity_commission_structures_pkey PRIMARY KEY (tenant_id, commodity_id, id)
);
alter table public.commodity_commission_structures enable row level security;
create policy commodity_commission_structures_read on public.commodity_commission_structures for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('commodity'::text, commodity_id)))));
create policy commodity_commission_structures_project on public.commodity_commission_structures for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.commodity_commission_structures to annals_projector;
grant select on public.commodity_commission_structures to authenticated;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- trade
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- State of trade streams.
create table public.trades (
    -- Tenant that the entity belongs to.
    tenant_id uuid not null,
    -- The entity's id: aggregate_id of its stream.
    id text collate "C" not null,
    -- Version of the last event that is projected here.
    version integer not null,
    -- Actor of the stream's first event. Users and agents see what they started, as long as no event of it is hidden from them.
    started_by text collate "C" not null,
    -- Recorded time of the event that deleted the entity; null: not deleted.
    deleted_at timestamp with time zone,
    -- Recorded time of the stream's first event.
    created_at timestamp with time zone not null,
    -- Recorded time of the last event that is projected here.
    updated_at timestamp with time zone not null,
    -- Commodity that is traded.
    commodity_id text,
    -- Who buys, as given: an organization, a customer, a name.
    buyer_id text,
    -- Who sells, as given: an organization, a customer, a name.
    seller_id text,
    -- How much of it, in the unit, exactly as given.
    quantity numeric,
    -- Unit of the quantity.
    unit text,
    -- Price of one unit, in minor units of the currency.
    unit_price_cents bigint,
    -- Value of the trade, in minor units of the currency.
    amount_cents bigint,
    -- Currency of all amounts, ISO 4217.
    currency text,
    -- Day of the bargain.
    trade_date date,
    -- Day on which delivery is due.
    delivery_date date,
    -- Status of the trade, one lower-case word: draft, agreed, executed, settled, cancelled …
    status text,
    -- Day on which it was executed.
    executed_on date,
    -- Why it was cancelled.
    cancellation_reason text,
    -- Day on which it was settled.
    settled_on date,
    -- Settled amount, in minor units of the currency.
    settled_cents bigint,
    -- Anything else.
    notes text,
    constraint trades_quantity CHECK ((quantity > (0)::numeric)),
    constraint trades_unit_price_cents CHECK ((unit_price_cents >= 0)),
    constraint trades_amount_cents CHECK ((amount_cents >= 0)),
    constraint trades_currency CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    constraint trades_settled_cents CHECK ((settled_cents >= 0)),
    constraint state_row_version CHECK ((version >= 1)),
    constraint trades_pkey PRIMARY KEY (tenant_id, id)
);
alter table public.trades enable row level security;
create policy trades_read on public.trades for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('trade'::text, id)))));
create policy trades_project on public.trades for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.trades to annals_projector;
grant select on public.trades to authenticated;

-- Upserts rows of public.trades like annals.write_states, with a plan that is kept. Made by annals.make_state_writer.
create function annals.fill_trades(tenant_ids uuid[], ids text[], versions integer[], started_bys text[], deleted_ats timestamp with time zone[], created_ats timestamp with time zone[], updated_ats timestamp with time zone[], states jsonb[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
         begin
             if annals.columns_of('public.trades') <> 'tenant_id 2950, id 25, version 23, started_by 25, deleted_at 1184, created_at 1184, updated_at 1184, commodity_id 25, buyer_id 25, seller_id 25, quantity 1700, unit 25, unit_price_cents 20, amount_cents 20, currency 25, trade_date 1082, delivery_date 1082, status 25, executed_on 1082, cancellation_reason 25, settled_on 1082, settled_cents 20, notes 25' then
                 perform annals.write_states('public.trades', tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states);
                 return;
             end if;
             insert into public.trades as t (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, commodity_id, buyer_id, seller_id, quantity, unit, unit_price_cents, amount_cents, currency, trade_date, delivery_date, status, executed_on, cancellation_reason, settled_on, settled_cents, notes)
             select u.tenant_id, u.id, u.version, u.started_by, u.deleted_at, u.created_at, u.updated_at, s.commodity_id, s.buyer_id, s.seller_id, s.quantity, s.unit, trim_scale((u.source ->> 'unit_price_cents')::numeric)::text::bigint, trim_scale((u.source ->> 'amount_cents')::numeric)::text::bigint, s.currency, s.trade_date, s.delivery_date, s.status, s.executed_on, s.cancellation_reason, s.settled_on, trim_scale((u.source ->> 'settled_cents')::numeric)::text::bigint, s.notes
               from unnest(tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states)
                    as u (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, source)
              cross join lateral jsonb_populate_record(null::public.trades, u.source - '{tenant_id,id,version,started_by,deleted_at,created_at,updated_at,version,unit_price_cents,amount_cents,settled_cents}'::text[]) as s
             on conflict (tenant_id, id) do update
                set version = excluded.version, deleted_at = excluded.deleted_at, updated_at = excluded.updated_at, commodity_id = excluded.commodity_id, buyer_id = excluded.buyer_id, seller_id = excluded.seller_id, quantity = excluded.quantity, unit = excluded.unit, unit_price_cents = excluded.unit_price_cents, amount_cents = excluded.amount_cents, currency = excluded.currency, trade_date = excluded.trade_date, delivery_date = excluded.delivery_date, status = excluded.status, executed_on = excluded.executed_on, cancellation_reason = excluded.cancellation_reason, settled_on = excluded.settled_on, settled_cents = excluded.settled_cents, notes = excluded.notes;
         end
         $function$;
grant execute on function annals.fill_trades(uuid[],text[],integer[],text[],timestamp with time zone[],timestamp with time zone[],timestamp with time zone[],jsonb[]) to annals_projector;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- payment
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- State of payment streams.
create table public.payments (
    -- Tenant that the entity belongs to.
    tenant_id uuid not null,
    -- The entity's id: aggregate_id of its stream.
    id text collate "C" not null,
    -- Version of the last event that is projected here.
    version integer not null,
    -- Actor of the stream's first event. Users and agents see what they started, as long as no event of it is hidden from them.
    started_by text collate "C" not null,
    -- Recorded time of the event that deleted the entity; null: not deleted.
    deleted_at timestamp with time zone,
    -- Recorded time of the stream's first event.
    created_at timestamp with time zone not null,
    -- Recorded time of the last event that is projected here.
    updated_at timestamp with time zone not null,
    -- Amount to be paid (paid once received), in minor units of the currency.
    amount_cents bigint,
    -- Currency of all amounts, ISO 4217.
    currency text,
    -- Order that it pays.
    order_id text,
    -- Trade that it pays.
    trade_id text,
    -- Who pays, as given.
    payer_id text,
    -- How it is paid, as given, e.g. upi.
    method text,
    -- The provider's or the bank's reference.
    reference text,
    -- Status of the payment, one lower-case word: pending, received, refunded, failed …
    status text,
    -- Day on which the money came in.
    received_on date,
    -- Amount of the last refund, in minor units of the currency.
    refunded_cents bigint,
    -- Why it was refunded.
    refund_reason text,
    -- The provider's code for the failure.
    failure_code text,
    -- Why it failed.
    failure_reason text,
    -- Anything else.
    notes text,
    constraint payments_amount_cents CHECK ((amount_cents >= 1)),
    constraint payments_currency CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    constraint payments_refunded_cents CHECK ((refunded_cents >= 1)),
    constraint state_row_version CHECK ((version >= 1)),
    constraint payments_pkey PRIMARY KEY (tenant_id, id)
);
alter table public.payments enable row level security;
create policy payments_read on public.payments for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('payment'::text, id)))));
create policy payments_project on public.payments for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.payments to annals_projector;
grant select on public.payments to authenticated;

-- Upserts rows of public.payments like annals.write_states, with a plan that is kept. Made by annals.make_state_writer.
create function annals.fill_payments(tenant_ids uuid[], ids text[], versions integer[], started_bys text[], deleted_ats timestamp with time zone[], created_ats timestamp with time zone[], updated_ats timestamp with time zone[], states jsonb[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
         begin
             if annals.columns_of('public.payments') <> 'tenant_id 2950, id 25, version 23, started_by 25, deleted_at 1184, created_at 1184, updated_at 1184, amount_cents 20, currency 25, order_id 25, trade_id 25, payer_id 25, method 25, reference 25, status 25, received_on 1082, refunded_cents 20, refund_reason 25, failure_code 25, failure_reason 25, notes 25' then
                 perform annals.write_states('public.payments', tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states);
                 return;
             end if;
             insert into public.payments as t (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, amount_cents, currency, order_id, trade_id, payer_id, method, reference, status, received_on, refunded_cents, refund_reason, failure_code, failure_reason, notes)
             select u.tenant_id, u.id, u.version, u.started_by, u.deleted_at, u.created_at, u.updated_at, trim_scale((u.source ->> 'amount_cents')::numeric)::text::bigint, s.currency, s.order_id, s.trade_id, s.payer_id, s.method, s.reference, s.status, s.received_on, trim_scale((u.source ->> 'refunded_cents')::numeric)::text::bigint, s.refund_reason, s.failure_code, s.failure_reason, s.notes
               from unnest(tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states)
                    as u (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, source)
              cross join lateral jsonb_populate_record(null::public.payments, u.source - '{tenant_id,id,version,started_by,deleted_at,created_at,updated_at,version,amount_cents,refunded_cents}'::text[]) as s
             on conflict (tenant_id, id) do update
                set version = excluded.version, deleted_at = excluded.deleted_at, updated_at = excluded.updated_at, amount_cents = excluded.amount_cents, currency = excluded.currency, order_id = excluded.order_id, trade_id = excluded.trade_id, payer_id = excluded.payer_id, method = excluded.method, reference = excluded.reference, status = excluded.status, received_on = excluded.received_on, refunded_cents = excluded.refunded_cents, refund_reason = excluded.refund_reason, failure_code = excluded.failure_code, failure_reason = excluded.failure_reason, notes = excluded.notes;
         end
         $function$;
grant execute on function annals.fill_payments(uuid[],text[],integer[],text[],timestamp with time zone[],timestamp with time zone[],timestamp with time zone[],jsonb[]) to annals_projector;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- opportunity
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- State of opportunity streams, with the fields of version 2.0.
create table public.opportunities (
    -- Tenant that the entity belongs to.
    tenant_id uuid not null,
    -- The entity's id: aggregate_id of its stream.
    id text collate "C" not null,
    -- Version of the last event that is projected here.
    version integer not null,
    -- Actor of the stream's first event. Users and agents see what they started, as long as no event of it is hidden from them.
    started_by text collate "C" not null,
    -- Recorded time of the event that deleted the entity; null: not deleted.
    deleted_at timestamp with time zone,
    -- Recorded time of the stream's first event.
    created_at timestamp with time zone not null,
    -- Recorded time of the last event that is projected here.
    updated_at timestamp with time zone not null,
    -- Its title.
    title text,
    -- Its description.
    description text,
    -- Industry that it was found in, as given.
    industry text,
    -- Short name of the kind of solution, as given, e.g. nlp.
    ai_solution_type text,
    -- Category of the solution, e.g. natural_language_processing.
    ai_solution_category text,
    -- Estimated size of the market, as given. Called market_size in version 1.0.
    market_size_estimate numeric,
    -- How sure the finder is, from 0 to 1; 0.7 for events of version 1.0, which did not have it.
    confidence_score numeric,
    -- Status, one lower-case word.
    status text,
    constraint opportunities_market_size_estimate CHECK ((market_size_estimate >= (0)::numeric)),
    constraint opportunities_confidence_score CHECK (((confidence_score >= (0)::numeric) AND (confidence_score <= (1)::numeric))),
    constraint state_row_version CHECK ((version >= 1)),
    constraint opportunities_pkey PRIMARY KEY (tenant_id, id)
);
alter table public.opportunities enable row level security;
create policy opportunities_read on public.opportunities for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('opportunity'::text, id)))));
create policy opportunities_project on public.opportunities for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.opportunities to annals_projector;
grant select on public.opportunities to authenticated;

-- Upserts rows of public.opportunities like annals.write_states, with a plan that is kept. Made by annals.make_state_writer.
create function annals.fill_opportunities(tenant_ids uuid[], ids text[], versions integer[], started_bys text[], deleted_ats timestamp with time zone[], created_ats timestamp with time zone[], updated_ats timestamp with time zone[], states jsonb[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
         begin
             if annals.columns_of('public.opportunities') <> 'tenant_id 2950, id 25, version 23, started_by 25, deleted_at 1184, created_at 1184, updated_at 1184, title 25, description 25, industry 25, ai_solution_type 25, ai_solution_category 25, market_size_estimate 1700, confidence_score 1700, status 25' then
                 perform annals.write_states('public.opportunities', tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states);
                 return;
             end if;
             insert into public.opportunities as t (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, title, description, industry, ai_solution_type, ai_solution_category, market_size_estimate, confidence_score, status)
             select u.tenant_id, u.id, u.version, u.started_by, u.deleted_at, u.created_at, u.updated_at, s.title, s.description, s.industry, s.ai_solution_type, s.ai_solution_category, s.market_size_estimate, s.confidence_score, s.status
               from unnest(tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states)
                    as u (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, source)
              cross join lateral jsonb_populate_record(null::public.opportunities, u.source - '{tenant_id,id,version,started_by,deleted_at,created_at,updated_at,version}'::text[]) as s
             on conflict (tenant_id, id) do update
                set version = excluded.version, deleted_at = excluded.deleted_at, updated_at = excluded.updated_at, title = excluded.title, description = excluded.description, industry = excluded.industry, ai_solution_type = excluded.ai_solution_type, ai_solution_category = excluded.ai_solution_category, market_size_estimate = excluded.market_size_estimate, confidence_score = excluded.confidence_score, status = excluded.status;
         end
         $function$;
grant execute on function annals.fill_opportunities(uuid[],text[],integer[],text[],timestamp with time zone[],timestamp with time zone[],timestamp with time zone[],jsonb[]) to annals_projector;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- user
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- State of user streams, with the fields of version 1.1. It does not control who may log in; that is the identity provider's.
create table public.users (
    -- Tenant that the entity belongs to.
    tenant_id uuid not null,
    -- The entity's id: aggregate_id of its stream.
    id text collate "C" not null,
    -- Version of the last event that is projected here.
    version integer not null,
    -- Actor of the stream's first event. Users and agents see what they started, as long as no event of it is hidden from them.
    started_by text collate "C" not null,
    -- Recorded time of the event that deleted the entity; null: not deleted.
    deleted_at timestamp with time zone,
    -- Recorded time of the stream's first event.
    created_at timestamp with time zone not null,
    -- Recorded time of the last event that is projected here.
    updated_at timestamp with time zone not null,
    -- Email address.
    email text,
    -- Full name.
    name text,
    -- Fields of expertise: an array of texts.
    expertise_domains jsonb,
    -- Which notifications they want: an object of switches, e.g. weekly_digest.
    user_preferences jsonb,
    -- How they want to be notified: an object with frequency, channels and quiet_hours.
    notification_settings jsonb,
    constraint users_expertise_domains CHECK ((jsonb_typeof(expertise_domains) = 'array'::text)),
    constraint users_user_preferences CHECK ((jsonb_typeof(user_preferences) = 'object'::text)),
    constraint users_notification_settings CHECK ((jsonb_typeof(notification_settings) = 'object'::text)),
    constraint state_row_version CHECK ((version >= 1)),
    constraint users_pkey PRIMARY KEY (tenant_id, id)
);
alter table public.users enable row level security;
create policy users_read on public.users for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('user'::text, id)))));
create policy users_project on public.users for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.users to annals_projector;
grant select on public.users to authenticated;

-- Upserts rows of public.users like annals.write_states, with a plan that is kept. Made by annals.make_state_writer.
create function annals.fill_users(tenant_ids uuid[], ids text[], versions integer[], started_bys text[], deleted_ats timestamp with time zone[], created_ats timestamp with time zone[], updated_ats timestamp with time zone[], states jsonb[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
         begin
             if annals.columns_of('public.users') <> 'tenant_id 2950, id 25, version 23, started_by 25, deleted_at 1184, created_at 1184, updated_at 1184, email 25, name 25, expertise_domains 3802, user_preferences 3802, notification_settings 3802' then
                 perform annals.write_states('public.users', tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states);
                 return;
             end if;
             insert into public.users as t (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, email, name, expertise_domains, user_preferences, notification_settings)
             select u.tenant_id, u.id, u.version, u.started_by, u.deleted_at, u.created_at, u.updated_at, s.email, s.name, s.expertise_domains, s.user_preferences, s.notification_settings
               from unnest(tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states)
                    as u (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, source)
              cross join lateral jsonb_populate_record(null::public.users, u.source - '{tenant_id,id,version,started_by,deleted_at,created_at,updated_at,version}'::text[]) as s
             on conflict (tenant_id, id) do update
                set version = excluded.version, deleted_at = excluded.deleted_at, updated_at = excluded.updated_at, email = excluded.email, name = excluded.name, expertise_domains = excluded.expertise_domains, user_preferences = excluded.user_preferences, notification_settings = excluded.notification_settings;
         end
         $function$;
grant execute on function annals.fill_users(uuid[],text[],integer[],text[],timestamp with time zone[],timestamp with time zone[],timestamp with time zone[],jsonb[]) to annals_projector;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- expense
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- State of expense streams.
create table public.expenses (
    -- Tenant that the entity belongs to.
    tenant_id uuid not null,
    -- The entity's id: aggregate_id of its stream.
    id text collate "C" not null,
    -- Version of the last event that is projected here.
    version integer not null,
    -- Actor of the stream's first event. Users and agents see what they started, as long as no event of it is hidden from them.
    started_by text collate "C" not null,
    -- Recorded time of the event that deleted the entity; null: not deleted.
    deleted_at timestamp with time zone,
    -- Recorded time of the stream's first event.
    created_at timestamp with time zone not null,
    -- Recorded time of the last event that is projected here.
    updated_at timestamp with time zone not null,
    -- Amount spent, in minor units of the currency; zero and negative amounts are expenses too.
    amount_cents bigint,
    -- Currency of the amount, ISO 4217.
    currency text,
    -- Day of the expense.
    expense_date date,
    -- Category of the expense, as given.
    category text,
    -- Who was paid, as given.
    vendor text,
    -- What it was for.
    description text,
    constraint expenses_currency CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    constraint state_row_version CHECK ((version >= 1)),
    constraint expenses_pkey PRIMARY KEY (tenant_id, id)
);
CREATE TRIGGER expenses_inserted AFTER INSERT ON public.expenses REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION annals.record_expense_changes();
CREATE TRIGGER expenses_updated AFTER UPDATE ON public.expenses REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION annals.record_expense_changes();
CREATE TRIGGER expenses_deleted AFTER DELETE ON public.expenses REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION annals.record_expense_changes();
alter table public.expenses enable row level security;
create policy expenses_read on public.expenses for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('expense'::text, id)))));
create policy expenses_project on public.expenses for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.expenses to annals_projector;
grant select on public.expenses to authenticated;

-- Upserts rows of public.expenses like annals.write_states, with a plan that is kept. Made by annals.make_state_writer.
create function annals.fill_expenses(tenant_ids uuid[], ids text[], versions integer[], started_bys text[], deleted_ats timestamp with time zone[], created_ats timestamp with time zone[], updated_ats timestamp with time zone[], states jsonb[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
         begin
             if annals.columns_of('public.expenses') <> 'tenant_id 2950, id 25, version 23, started_by 25, deleted_at 1184, created_at 1184, updated_at 1184, amount_cents 20, currency 25, expense_date 1082, category 25, vendor 25, description 25' then
                 perform annals.write_states('public.expenses', tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states);
                 return;
             end if;
             insert into public.expenses as t (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, amount_cents, currency, expense_date, category, vendor, description)
             select u.tenant_id, u.id, u.version, u.started_by, u.deleted_at, u.created_at, u.updated_at, trim_scale((u.source ->> 'amount_cents')::numeric)::text::bigint, s.currency, s.expense_date, s.category, s.vendor, s.description
               from unnest(tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states)
                    as u (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, source)
              cross join lateral jsonb_populate_record(null::public.expenses, u.source - '{tenant_id,id,version,started_by,deleted_at,created_at,updated_at,version,amount_cents}'::text[]) as s
             on conflict (tenant_id, id) do update
                set version = excluded.version, deleted_at = excluded.deleted_at, updated_at = excluded.updated_at, amount_cents = excluded.amount_cents, currency = excluded.currency, expense_date = excluded.expense_date, category = excluded.category, vendor = excluded.vendor, description = excluded.description;
         end
         $function$;
grant execute on function annals.fill_expenses(uuid[],text[],integer[],text[],timestamp with time zone[],timestamp with time zone[],timestamp with time zone[],jsonb[]) to annals_projector;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- import
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- State of import streams: one large file each. The id is that of the upload.
create table public.imports (
    -- Tenant that the entity belongs to.
    tenant_id uuid not null,
    -- The entity's id: aggregate_id of its stream.
    id text collate "C" not null,
    -- Version of the last event that is projected here.
    version integer not null,
    -- Actor of the stream's first event. Users and agents see what they started, as long as no event of it is hidden from them.
    started_by text collate "C" not null,
    -- Recorded time of the event that deleted the entity; null: not deleted.
    deleted_at timestamp with time zone,
    -- Recorded time of the stream's first event.
    created_at timestamp with time zone not null,
    -- Recorded time of the last event that is projected here.
    updated_at timestamp with time zone not null,
    -- What the file contains: sales, customers or expenses.
    dataset text,
    -- waiting for its file, running, completed (rows may have been rejected), failed, reverting (its events are being compensated) or
    -- reverted.
    status text,
    -- Bytes of the file.
    size_bytes bigint,
    -- SHA-256 of the file's bytes, in hexadecimal digits.
    file_sha256 text,
    -- Rows that have been processed.
    rows_total bigint,
    -- Rows that created entities.
    rows_accepted bigint,
    -- Rows that were rejected.
    rows_rejected bigint,
    -- Rows that contain nothing new.
    rows_duplicate bigint,
    -- Rows that changed existing entities.
    rows_updated bigint,
    -- Rows with an amount that had to be rounded to a minor unit.
    rows_rounded bigint,
    -- Events that were appended.
    events_appended bigint,
    -- Why it failed, as a code; null unless the file as a whole failed.
    code text,
    -- Why it failed, in human-readable words.
    detail text,
    -- Whether it only reports what would happen to the rows; null for events of version 1.0, which did not have it.
    dry_run boolean,
    -- Events that a revert has compensated; null if the import was not reverted.
    events_compensated bigint,
    -- Events that a revert has left alone; null if the import was not reverted.
    events_left bigint,
    constraint state_row_version CHECK ((version >= 1)),
    constraint imports_pkey PRIMARY KEY (tenant_id, id),
    constraint imports_status CHECK ((status = ANY (ARRAY['waiting'::text, 'running'::text, 'completed'::text, 'failed'::text, 'reverting'::text, 'reverted'::text])))
);
alter table public.imports enable row level security;
create policy imports_read on public.imports for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND (( SELECT annals.caller_sees_tenant() AS caller_sees_tenant) OR ((started_by = ( SELECT annals.caller_actor() AS caller_actor)) AND annals.starter_sees_all('import'::text, id)))));
create policy imports_project on public.imports for all to annals_projector using (true) with check (true);
grant select, insert, update, delete on public.imports to annals_projector;
grant select on public.imports to authenticated;

-- Upserts rows of public.imports like annals.write_states, with a plan that is kept. Made by annals.make_state_writer.
create function annals.fill_imports(tenant_ids uuid[], ids text[], versions integer[], started_bys text[], deleted_ats timestamp with time zone[], created_ats timestamp with time zone[], updated_ats timestamp with time zone[], states jsonb[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
         begin
             if annals.columns_of('public.imports') <> 'tenant_id 2950, id 25, version 23, started_by 25, deleted_at 1184, created_at 1184, updated_at 1184, dataset 25, status 25, size_bytes 20, file_sha256 25, rows_total 20, rows_accepted 20, rows_rejected 20, rows_duplicate 20, rows_updated 20, rows_rounded 20, events_appended 20, code 25, detail 25, dry_run 16, events_compensated 20, events_left 20' then
                 perform annals.write_states('public.imports', tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states);
                 return;
             end if;
             insert into public.imports as t (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, dataset, status, size_bytes, file_sha256, rows_total, rows_accepted, rows_rejected, rows_duplicate, rows_updated, rows_rounded, events_appended, code, detail, dry_run, events_compensated, events_left)
             select u.tenant_id, u.id, u.version, u.started_by, u.deleted_at, u.created_at, u.updated_at, s.dataset, s.status, trim_scale((u.source ->> 'size_bytes')::numeric)::text::bigint, s.file_sha256, trim_scale((u.source ->> 'rows_total')::numeric)::text::bigint, trim_scale((u.source ->> 'rows_accepted')::numeric)::text::bigint, trim_scale((u.source ->> 'rows_rejected')::numeric)::text::bigint, trim_scale((u.source ->> 'rows_duplicate')::numeric)::text::bigint, trim_scale((u.source ->> 'rows_updated')::numeric)::text::bigint, trim_scale((u.source ->> 'rows_rounded')::numeric)::text::bigint, trim_scale((u.source ->> 'events_appended')::numeric)::text::bigint, s.code, s.detail, s.dry_run, trim_scale((u.source ->> 'events_compensated')::numeric)::text::bigint, trim_scale((u.source ->> 'events_left')::numeric)::text::bigint
               from unnest(tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states)
                    as u (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, source)
              cross join lateral jsonb_populate_record(null::public.imports, u.source - '{tenant_id,id,version,started_by,deleted_at,created_at,updated_at,version,size_bytes,rows_total,rows_accepted,rows_rejected,rows_duplicate,rows_updated,rows_rounded,events_appended,events_compensated,events_left}'::text[]) as s
             on conflict (tenant_id, id) do update
                set version = excluded.version, deleted_at = excluded.deleted_at, updated_at = excluded.updated_at, dataset = excluded.dataset, status = excluded.status, size_bytes = excluded.size_bytes, file_sha256 = excluded.file_sha256, rows_total = excluded.rows_total, rows_accepted = excluded.rows_accepted, rows_rejected = excluded.rows_rejected, rows_duplicate = excluded.rows_duplicate, rows_updated = excluded.rows_updated, rows_rounded = excluded.rows_rounded, events_appended = excluded.events_appended, code = excluded.code, detail = excluded.detail, dry_run = excluded.dry_run, events_compensated = excluded.events_compensated, events_left = excluded.events_left;
         end
         $function$;
grant execute on function annals.fill_imports(uuid[],text[],integer[],text[],timestamp with time zone[],timestamp with time zone[],timestamp with time zone[],jsonb[]) to annals_projector;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- event_pages
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- For pages of events: reads what a page needs to know. Numbers are not narrowed to the time range for callers who do not see the tenant,
-- because they must not learn in which minutes others were active.
create function annals.page_context(is_newest boolean, from_time timestamp with time zone, to_time timestamp with time zone, after bigint, up_to bigint, is_unprocessed boolean)
 RETURNS annals.page_context
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
AS $function$
declare
    most_examined constant int := 20000;
    page          annals.page_context;
    noted         bigint;
    beyond        record;
begin
    page.tenant := annals.caller_tenant();
    page.sees_tenant := annals.caller_sees_tenant();
    page.above := case when is_newest then -1 else coalesce(after, -1) end;
    page.below := coalesce(least(least(up_to, 9223372036854775806) + 1, case when is_newest then after end), 9223372036854775807);
    select r.revision, c.position,
           exists (select from annals.entities n where n.tenant_id = page.tenant and n.aggregate_type = 'user'),
           array(select p.aggregate_id from annals.parked_streams p where p.tenant_id = page.tenant limit 101)
      into page.revision, page.position, page.has_users, page.parked
      from annals.catalog_revision r
     cross join annals.checkpoints c
     where r.only_row and c.name = 'sweep';
    page.above_swept := greatest(page.above, page.position);
    -- Only callers who see the tenant see which streams are parked. For others the head of each event is read, and so it is if very many
    -- streams are parked.
    page.swept := case when page.sees_tenant and cardinality(page.parked) <= 100 then page.position else -1 end;
    page.marks_parked := is_unprocessed and page.parked <> '{}';
    page.skipped := '{}';
    if not page.sees_tenant then
        page.actor := annals.caller_actor();
        page.person := annals.caller_user_id();
        return page;
    end if;
    if from_time is null and to_time is null then
        return page;
    end if;

    -- The numbers of the time range, from annals.event_minutes. The first is that of the first recorded minute at from_time or later, or the
    -- one after the recorded position. The last is known only if a minute after to_time is recorded, because otherwise more events may still
    -- come before to_time. Events after the recorded position are examined, up to a limit.
    noted := (select n.position from annals.noted_events n where n.only_row);
    if from_time is not null then
        page.above := greatest(page.above, coalesce(
            (select m.first_number from annals.event_minutes m
              where m.tenant_id = page.tenant and m.minute >= date_trunc('minute', from_time, 'UTC') order by m.minute limit 1), noted + 1) - 1);
    end if;
    if exists (select from annals.event_minutes m where m.tenant_id = page.tenant and m.minute > to_time) then
        select count(*) as events, max(e.event_number) filter (where e.created_at < to_time) as last_number into beyond
          from (select e.event_number, e.created_at from annals.events e
                 where e.tenant_id = page.tenant and e.event_number > noted order by e.event_number limit most_examined) as e;
        if beyond.events < most_examined then
            page.below := least(page.below, 1 + coalesce(greatest(beyond.last_number,
                (select m.last_number from annals.event_minutes m
                  where m.tenant_id = page.tenant and m.minute <= to_time order by m.minute desc limit 1)), 0));
        end if;
    end if;
    return page;
end
$function$;
grant execute on function annals.page_context(boolean,timestamp with time zone,timestamp with time zone,bigint,bigint,boolean) to authenticated;

-- The last version of a stream whose event has this number or a lower one; 0 if there is none. For callers who see every event of the
-- stream.
create function annals.version_at_number(tenant uuid, stream_type text, stream_id text, number bigint)
 RETURNS integer
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_sort TO 'off'
AS $function$
declare
    low  int := 0;
    high int := (select h.version from annals.heads h where h.tenant_id = tenant and h.aggregate_type = stream_type and h.aggregate_id = stream_id);
    half int;
begin
    -- Versions up to low have this number or a lower one, versions after high have higher numbers.
    while low < high loop
        half := low + (high - low + 1) / 2;
        if (select e.event_number from annals.events e
             where e.tenant_id = tenant and e.aggregate_id = stream_id and e.aggregate_type = stream_type and e.aggregate_version = half) <= number then
            low := half;
        else
            high := half - 1;
        end if;
    end loop;
    return low;
end
$function$;
grant execute on function annals.version_at_number(uuid,text,text,bigint) to authenticated;

-- The streams with this id in which the caller sees events, each with the versions between which the page's numbers are.
create function annals.streams_of_id(page annals.page_context, stream_id text, only_type text)
 RETURNS TABLE(stream_type text, above integer, below integer)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_sort TO 'off'
AS $function$
begin
    stream_type := '';
    loop
        stream_type := (
            select e.aggregate_type from annals.events e
             where e.tenant_id = page.tenant and e.aggregate_id = streams_of_id.stream_id and e.aggregate_type > streams_of_id.stream_type
             order by e.tenant_id, e.aggregate_id, e.aggregate_type limit 1);
        exit when stream_type is null;
        continue when stream_type <> only_type;
        above := 0;
        below := 2147483647;
        if annals.sees_state(stream_type, stream_id) then
            above := case when page.above > 0 then annals.version_at_number(page.tenant, stream_type, stream_id, page.above) else 0 end;
            if page.below < 9223372036854775807 then
                below := annals.version_at_number(page.tenant, stream_type, stream_id, page.below - 1) + 1;
            end if;
        end if;
        return next;
    end loop;
end
$function$;
grant execute on function annals.streams_of_id(annals.page_context,text,text) to authenticated;

-- Whether read models contain the event with this number; false also if the caller does not see it.
create function annals.is_projected(number bigint)
 RETURNS boolean
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
AS $function$
declare
    actor  text := annals.caller_actor();
    person uuid := annals.caller_user_id();
begin
    return coalesce((
        select e.aggregate_version <= h.projected_version
          from annals.events e
          join annals.heads h on h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id
         where e.event_number = number and e.tenant_id = annals.caller_tenant()
           and (annals.caller_sees_tenant()
                or e.created_by = actor
                or (e.started_by = actor and e.starter_sees and e.started_by <> e.created_by)
                or (e.user_id = person and e.created_by not like 'user:%'))), false);
end
$function$;
grant execute on function annals.is_projected(bigint) to authenticated;

-- Whether the stream is parked and no retry is under way.
create function annals.is_parked(tenant uuid, stream_type text, stream_id text)
 RETURNS boolean
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    return exists (select from annals.parked_streams p
                    where p.tenant_id = tenant and p.aggregate_type = stream_type and p.aggregate_id = stream_id and not p.retrying);
end
$function$;
grant execute on function annals.is_parked(uuid,text,text) to authenticated;

-- Metadata of an event from annals.withheld_context, if they are there and the caller may read them; otherwise the stored ones.
create function annals.withheld_metadata(number bigint, stored jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    return coalesce((select w.metadata from annals.withheld_context w where w.event_number = number), stored);
end
$function$;
grant execute on function annals.withheld_metadata(bigint,jsonb) to authenticated;

-- What the server observed of an event, from annals.withheld_context, if it is there and the caller may read it; otherwise what is stored.
create function annals.withheld_recorded(number bigint, stored jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    return coalesce((select w.recorded from annals.withheld_context w where w.event_number = number), stored);
end
$function$;
grant execute on function annals.withheld_recorded(bigint,jsonb) to authenticated;

-- Events of the tenant.
create function annals.list_events(is_newest boolean, after bigint, row_limit bigint, max_bytes bigint, up_to bigint DEFAULT NULL::bigint, from_time timestamp with time zone DEFAULT NULL::timestamp with time zone, to_time timestamp with time zone DEFAULT NULL::timestamp with time zone, event_types text[] DEFAULT NULL::text[], stream_type text DEFAULT NULL::text, stream_id text DEFAULT NULL::text, person uuid DEFAULT NULL::uuid, actor text DEFAULT NULL::text, correlation text DEFAULT NULL::text, causation uuid DEFAULT NULL::uuid, command text DEFAULT NULL::text, origin text DEFAULT NULL::text, is_processed boolean DEFAULT NULL::boolean)
 RETURNS SETOF annals.listed_event
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_variable
declare
    page annals.page_context := annals.page_context(is_newest, from_time, to_time, after, up_to, is_processed is false);
begin
    if is_newest then 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.event_number) > (page.above) and (e.event_number) < (page.below)  
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.event_number desc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    else 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.event_number) > (page.above) and (e.event_number) < (page.below)  
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.event_number asc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    end if;
end
$function$;
grant execute on function annals.list_events(boolean,bigint,bigint,bigint,bigint,timestamp with time zone,timestamp with time zone,text[],text,text,uuid,text,text,uuid,text,text,boolean) to authenticated;

-- Events of some types.
create function annals.list_events_of_types(is_newest boolean, after bigint, row_limit bigint, max_bytes bigint, up_to bigint DEFAULT NULL::bigint, from_time timestamp with time zone DEFAULT NULL::timestamp with time zone, to_time timestamp with time zone DEFAULT NULL::timestamp with time zone, event_types text[] DEFAULT NULL::text[], stream_type text DEFAULT NULL::text, stream_id text DEFAULT NULL::text, person uuid DEFAULT NULL::uuid, actor text DEFAULT NULL::text, correlation text DEFAULT NULL::text, causation uuid DEFAULT NULL::uuid, command text DEFAULT NULL::text, origin text DEFAULT NULL::text, is_processed boolean DEFAULT NULL::boolean)
 RETURNS SETOF annals.listed_event
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_variable
declare
    page annals.page_context := annals.page_context(is_newest, from_time, to_time, after, up_to, is_processed is false);
begin
    if is_newest then 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                select e.* from unnest(event_types) as t (event_type) cross join lateral (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.event_type, e.event_number) > (t.event_type, page.above) and (e.event_type, e.event_number) < (t.event_type, page.below)  
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.event_type desc, e.event_number desc limit row_limit) as e
                 order by e.event_number desc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    else 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                select e.* from unnest(event_types) as t (event_type) cross join lateral (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.event_type, e.event_number) > (t.event_type, page.above) and (e.event_type, e.event_number) < (t.event_type, page.below)  
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.event_type asc, e.event_number asc limit row_limit) as e
                 order by e.event_number asc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    end if;
end
$function$;
grant execute on function annals.list_events_of_types(boolean,bigint,bigint,bigint,bigint,timestamp with time zone,timestamp with time zone,text[],text,text,uuid,text,text,uuid,text,text,boolean) to authenticated;

-- Events of an aggregate type.
create function annals.list_events_of_aggregate_type(is_newest boolean, after bigint, row_limit bigint, max_bytes bigint, up_to bigint DEFAULT NULL::bigint, from_time timestamp with time zone DEFAULT NULL::timestamp with time zone, to_time timestamp with time zone DEFAULT NULL::timestamp with time zone, event_types text[] DEFAULT NULL::text[], stream_type text DEFAULT NULL::text, stream_id text DEFAULT NULL::text, person uuid DEFAULT NULL::uuid, actor text DEFAULT NULL::text, correlation text DEFAULT NULL::text, causation uuid DEFAULT NULL::uuid, command text DEFAULT NULL::text, origin text DEFAULT NULL::text, is_processed boolean DEFAULT NULL::boolean)
 RETURNS SETOF annals.listed_event
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_variable
declare
    page annals.page_context := annals.page_context(is_newest, from_time, to_time, after, up_to, is_processed is false);
begin
    if is_newest then 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                select e.* from (select distinct t.event_type from annals.event_types t where t.aggregate_type = stream_type) as t
                 cross join lateral (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.event_type, e.event_number) > (t.event_type, page.above) and (e.event_type, e.event_number) < (t.event_type, page.below)  
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.event_type desc, e.event_number desc limit row_limit) as e
                 order by e.event_number desc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    else 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                select e.* from (select distinct t.event_type from annals.event_types t where t.aggregate_type = stream_type) as t
                 cross join lateral (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.event_type, e.event_number) > (t.event_type, page.above) and (e.event_type, e.event_number) < (t.event_type, page.below)  
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.event_type asc, e.event_number asc limit row_limit) as e
                 order by e.event_number asc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    end if;
end
$function$;
grant execute on function annals.list_events_of_aggregate_type(boolean,bigint,bigint,bigint,bigint,timestamp with time zone,timestamp with time zone,text[],text,text,uuid,text,text,uuid,text,text,boolean) to authenticated;

-- Events that an actor caused.
create function annals.list_events_of_actor(is_newest boolean, after bigint, row_limit bigint, max_bytes bigint, up_to bigint DEFAULT NULL::bigint, from_time timestamp with time zone DEFAULT NULL::timestamp with time zone, to_time timestamp with time zone DEFAULT NULL::timestamp with time zone, event_types text[] DEFAULT NULL::text[], stream_type text DEFAULT NULL::text, stream_id text DEFAULT NULL::text, person uuid DEFAULT NULL::uuid, actor text DEFAULT NULL::text, correlation text DEFAULT NULL::text, causation uuid DEFAULT NULL::uuid, command text DEFAULT NULL::text, origin text DEFAULT NULL::text, is_processed boolean DEFAULT NULL::boolean)
 RETURNS SETOF annals.listed_event
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_variable
declare
    page annals.page_context := annals.page_context(is_newest, from_time, to_time, after, up_to, is_processed is false);
begin
    if is_newest then 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.created_by, e.event_number) > (actor, page.above) and (e.created_by, e.event_number) < (actor, page.below)  
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.created_by desc, e.event_number desc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    else 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.created_by, e.event_number) > (actor, page.above) and (e.created_by, e.event_number) < (actor, page.below)  
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.created_by asc, e.event_number asc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    end if;
end
$function$;
grant execute on function annals.list_events_of_actor(boolean,bigint,bigint,bigint,bigint,timestamp with time zone,timestamp with time zone,text[],text,text,uuid,text,text,uuid,text,text,boolean) to authenticated;

-- Events that a person caused, or that a service or an agent caused for the person.
create function annals.list_events_of_person(is_newest boolean, after bigint, row_limit bigint, max_bytes bigint, up_to bigint DEFAULT NULL::bigint, from_time timestamp with time zone DEFAULT NULL::timestamp with time zone, to_time timestamp with time zone DEFAULT NULL::timestamp with time zone, event_types text[] DEFAULT NULL::text[], stream_type text DEFAULT NULL::text, stream_id text DEFAULT NULL::text, person uuid DEFAULT NULL::uuid, actor text DEFAULT NULL::text, correlation text DEFAULT NULL::text, causation uuid DEFAULT NULL::uuid, command text DEFAULT NULL::text, origin text DEFAULT NULL::text, is_processed boolean DEFAULT NULL::boolean)
 RETURNS SETOF annals.listed_event
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_variable
declare
    page annals.page_context := annals.page_context(is_newest, from_time, to_time, after, up_to, is_processed is false);
begin
    if is_newest then 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                select * from ((
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.created_by, e.event_number) > ('user:' || person, page.above) and (e.created_by, e.event_number) < ('user:' || person, page.below)  
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.created_by desc, e.event_number desc limit row_limit) union all (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.user_id, e.event_number) > (person, page.above) and (e.user_id, e.event_number) < (person, page.below) and e.created_by not like 'user:%' and e.user_id is not null 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.user_id desc, e.event_number desc limit row_limit)) as e
                 order by e.event_number desc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    else 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                select * from ((
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.created_by, e.event_number) > ('user:' || person, page.above) and (e.created_by, e.event_number) < ('user:' || person, page.below)  
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.created_by asc, e.event_number asc limit row_limit) union all (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.user_id, e.event_number) > (person, page.above) and (e.user_id, e.event_number) < (person, page.below) and e.created_by not like 'user:%' and e.user_id is not null 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.user_id asc, e.event_number asc limit row_limit)) as e
                 order by e.event_number asc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    end if;
end
$function$;
grant execute on function annals.list_events_of_person(boolean,bigint,bigint,bigint,bigint,timestamp with time zone,timestamp with time zone,text[],text,text,uuid,text,text,uuid,text,text,boolean) to authenticated;

-- Events of a flow.
create function annals.list_events_of_correlation(is_newest boolean, after bigint, row_limit bigint, max_bytes bigint, up_to bigint DEFAULT NULL::bigint, from_time timestamp with time zone DEFAULT NULL::timestamp with time zone, to_time timestamp with time zone DEFAULT NULL::timestamp with time zone, event_types text[] DEFAULT NULL::text[], stream_type text DEFAULT NULL::text, stream_id text DEFAULT NULL::text, person uuid DEFAULT NULL::uuid, actor text DEFAULT NULL::text, correlation text DEFAULT NULL::text, causation uuid DEFAULT NULL::uuid, command text DEFAULT NULL::text, origin text DEFAULT NULL::text, is_processed boolean DEFAULT NULL::boolean)
 RETURNS SETOF annals.listed_event
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_variable
declare
    page annals.page_context := annals.page_context(is_newest, from_time, to_time, after, up_to, is_processed is false);
begin
    if is_newest then 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.correlation_id, e.event_number) > (correlation, page.above) and (e.correlation_id, e.event_number) < (correlation, page.below) and e.correlation_id is not null 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.correlation_id desc, e.event_number desc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    else 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.correlation_id, e.event_number) > (correlation, page.above) and (e.correlation_id, e.event_number) < (correlation, page.below) and e.correlation_id is not null 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.correlation_id asc, e.event_number asc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    end if;
end
$function$;
grant execute on function annals.list_events_of_correlation(boolean,bigint,bigint,bigint,bigint,timestamp with time zone,timestamp with time zone,text[],text,text,uuid,text,text,uuid,text,text,boolean) to authenticated;

-- Events that an event caused.
create function annals.list_events_of_causation(is_newest boolean, after bigint, row_limit bigint, max_bytes bigint, up_to bigint DEFAULT NULL::bigint, from_time timestamp with time zone DEFAULT NULL::timestamp with time zone, to_time timestamp with time zone DEFAULT NULL::timestamp with time zone, event_types text[] DEFAULT NULL::text[], stream_type text DEFAULT NULL::text, stream_id text DEFAULT NULL::text, person uuid DEFAULT NULL::uuid, actor text DEFAULT NULL::text, correlation text DEFAULT NULL::text, causation uuid DEFAULT NULL::uuid, command text DEFAULT NULL::text, origin text DEFAULT NULL::text, is_processed boolean DEFAULT NULL::boolean)
 RETURNS SETOF annals.listed_event
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_variable
declare
    page annals.page_context := annals.page_context(is_newest, from_time, to_time, after, up_to, is_processed is false);
begin
    if is_newest then 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.causation_id, e.event_number) > (causation, page.above) and (e.causation_id, e.event_number) < (causation, page.below) and e.causation_id is not null 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.causation_id desc, e.event_number desc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    else 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.causation_id, e.event_number) > (causation, page.above) and (e.causation_id, e.event_number) < (causation, page.below) and e.causation_id is not null 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.causation_id asc, e.event_number asc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    end if;
end
$function$;
grant execute on function annals.list_events_of_causation(boolean,bigint,bigint,bigint,bigint,timestamp with time zone,timestamp with time zone,text[],text,text,uuid,text,text,uuid,text,text,boolean) to authenticated;

-- Events that answer a command.
create function annals.list_events_of_command(is_newest boolean, after bigint, row_limit bigint, max_bytes bigint, up_to bigint DEFAULT NULL::bigint, from_time timestamp with time zone DEFAULT NULL::timestamp with time zone, to_time timestamp with time zone DEFAULT NULL::timestamp with time zone, event_types text[] DEFAULT NULL::text[], stream_type text DEFAULT NULL::text, stream_id text DEFAULT NULL::text, person uuid DEFAULT NULL::uuid, actor text DEFAULT NULL::text, correlation text DEFAULT NULL::text, causation uuid DEFAULT NULL::uuid, command text DEFAULT NULL::text, origin text DEFAULT NULL::text, is_processed boolean DEFAULT NULL::boolean)
 RETURNS SETOF annals.listed_event
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_variable
declare
    page annals.page_context := annals.page_context(is_newest, from_time, to_time, after, up_to, is_processed is false);
begin
    if is_newest then 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.command_id, e.event_number) > (command, page.above) and (e.command_id, e.event_number) < (command, page.below) and e.command_id is not null 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.command_id desc, e.event_number desc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    else 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.command_id, e.event_number) > (command, page.above) and (e.command_id, e.event_number) < (command, page.below) and e.command_id is not null 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.command_id asc, e.event_number asc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    end if;
end
$function$;
grant execute on function annals.list_events_of_command(boolean,bigint,bigint,bigint,bigint,timestamp with time zone,timestamp with time zone,text[],text,text,uuid,text,text,uuid,text,text,boolean) to authenticated;

-- Events of a source other than api.
create function annals.list_events_of_source(is_newest boolean, after bigint, row_limit bigint, max_bytes bigint, up_to bigint DEFAULT NULL::bigint, from_time timestamp with time zone DEFAULT NULL::timestamp with time zone, to_time timestamp with time zone DEFAULT NULL::timestamp with time zone, event_types text[] DEFAULT NULL::text[], stream_type text DEFAULT NULL::text, stream_id text DEFAULT NULL::text, person uuid DEFAULT NULL::uuid, actor text DEFAULT NULL::text, correlation text DEFAULT NULL::text, causation uuid DEFAULT NULL::uuid, command text DEFAULT NULL::text, origin text DEFAULT NULL::text, is_processed boolean DEFAULT NULL::boolean)
 RETURNS SETOF annals.listed_event
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_variable
declare
    page annals.page_context := annals.page_context(is_newest, from_time, to_time, after, up_to, is_processed is false);
begin
    if is_newest then 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.source, e.event_number) > (origin, page.above) and (e.source, e.event_number) < (origin, page.below) and e.source <> 'api' 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.source desc, e.event_number desc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    else 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.source, e.event_number) > (origin, page.above) and (e.source, e.event_number) < (origin, page.below) and e.source <> 'api' 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.source asc, e.event_number asc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    end if;
end
$function$;
grant execute on function annals.list_events_of_source(boolean,bigint,bigint,bigint,bigint,timestamp with time zone,timestamp with time zone,text[],text,text,uuid,text,text,uuid,text,text,boolean) to authenticated;

-- Events of the streams with an id.
create function annals.list_events_of_id(is_newest boolean, after bigint, row_limit bigint, max_bytes bigint, up_to bigint DEFAULT NULL::bigint, from_time timestamp with time zone DEFAULT NULL::timestamp with time zone, to_time timestamp with time zone DEFAULT NULL::timestamp with time zone, event_types text[] DEFAULT NULL::text[], stream_type text DEFAULT NULL::text, stream_id text DEFAULT NULL::text, person uuid DEFAULT NULL::uuid, actor text DEFAULT NULL::text, correlation text DEFAULT NULL::text, causation uuid DEFAULT NULL::uuid, command text DEFAULT NULL::text, origin text DEFAULT NULL::text, is_processed boolean DEFAULT NULL::boolean)
 RETURNS SETOF annals.listed_event
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_variable
declare
    page annals.page_context := annals.page_context(is_newest, from_time, to_time, after, up_to, is_processed is false);
begin
    if is_newest then 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                select e.* from annals.streams_of_id(page, stream_id, stream_type) as s cross join lateral (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.aggregate_id, e.aggregate_type, e.aggregate_version) > (list_events_of_id.stream_id, s.stream_type, s.above)
                       and (e.aggregate_id, e.aggregate_type, e.aggregate_version) < (list_events_of_id.stream_id, s.stream_type, s.below)
                       and e.event_number > page.above and e.event_number < page.below 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.aggregate_id desc, e.aggregate_type desc, e.aggregate_version desc limit row_limit) as e
                 order by e.event_number desc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    else 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                select e.* from annals.streams_of_id(page, stream_id, stream_type) as s cross join lateral (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.aggregate_id, e.aggregate_type, e.aggregate_version) > (list_events_of_id.stream_id, s.stream_type, s.above)
                       and (e.aggregate_id, e.aggregate_type, e.aggregate_version) < (list_events_of_id.stream_id, s.stream_type, s.below)
                       and e.event_number > page.above and e.event_number < page.below 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.aggregate_id asc, e.aggregate_type asc, e.aggregate_version asc limit row_limit) as e
                 order by e.event_number asc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    end if;
end
$function$;
grant execute on function annals.list_events_of_id(boolean,bigint,bigint,bigint,bigint,timestamp with time zone,timestamp with time zone,text[],text,text,uuid,text,text,uuid,text,text,boolean) to authenticated;

-- What a caller sees who does not see the tenant.
create function annals.list_events_of_caller(is_newest boolean, after bigint, row_limit bigint, max_bytes bigint, up_to bigint DEFAULT NULL::bigint, from_time timestamp with time zone DEFAULT NULL::timestamp with time zone, to_time timestamp with time zone DEFAULT NULL::timestamp with time zone, event_types text[] DEFAULT NULL::text[], stream_type text DEFAULT NULL::text, stream_id text DEFAULT NULL::text, person uuid DEFAULT NULL::uuid, actor text DEFAULT NULL::text, correlation text DEFAULT NULL::text, causation uuid DEFAULT NULL::uuid, command text DEFAULT NULL::text, origin text DEFAULT NULL::text, is_processed boolean DEFAULT NULL::boolean)
 RETURNS SETOF annals.listed_event
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_variable
declare
    page annals.page_context := annals.page_context(is_newest, from_time, to_time, after, up_to, is_processed is false);
begin
    if is_newest then 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                select * from ((
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.created_by, e.event_number) > (page.actor, page.above) and (e.created_by, e.event_number) < (page.actor, page.below)  
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.created_by desc, e.event_number desc limit row_limit) union all (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.started_by, e.event_number) > (page.actor, page.above) and (e.started_by, e.event_number) < (page.actor, page.below) and e.starter_sees and e.started_by <> e.created_by 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.started_by desc, e.event_number desc limit row_limit) union all (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.user_id, e.event_number) > (page.person, page.above) and (e.user_id, e.event_number) < (page.person, page.below) and e.created_by not like 'user:%' and e.user_id is not null and e.created_by <> page.actor
                       and not (e.started_by = page.actor and e.starter_sees) 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.user_id desc, e.event_number desc limit row_limit)) as e
                 order by e.event_number desc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    else 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                select * from ((
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.created_by, e.event_number) > (page.actor, page.above) and (e.created_by, e.event_number) < (page.actor, page.below)  
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.created_by asc, e.event_number asc limit row_limit) union all (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.started_by, e.event_number) > (page.actor, page.above) and (e.started_by, e.event_number) < (page.actor, page.below) and e.starter_sees and e.started_by <> e.created_by 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.started_by asc, e.event_number asc limit row_limit) union all (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.user_id, e.event_number) > (page.person, page.above) and (e.user_id, e.event_number) < (page.person, page.below) and e.created_by not like 'user:%' and e.user_id is not null and e.created_by <> page.actor
                       and not (e.started_by = page.actor and e.starter_sees) 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.user_id asc, e.event_number asc limit row_limit)) as e
                 order by e.event_number asc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    end if;
end
$function$;
grant execute on function annals.list_events_of_caller(boolean,bigint,bigint,bigint,bigint,timestamp with time zone,timestamp with time zone,text[],text,text,uuid,text,text,uuid,text,text,boolean) to authenticated;

-- Events that are not projected yet, for callers who see the tenant.
create function annals.list_events_unprocessed(is_newest boolean, after bigint, row_limit bigint, max_bytes bigint, up_to bigint DEFAULT NULL::bigint, from_time timestamp with time zone DEFAULT NULL::timestamp with time zone, to_time timestamp with time zone DEFAULT NULL::timestamp with time zone, event_types text[] DEFAULT NULL::text[], stream_type text DEFAULT NULL::text, stream_id text DEFAULT NULL::text, person uuid DEFAULT NULL::uuid, actor text DEFAULT NULL::text, correlation text DEFAULT NULL::text, causation uuid DEFAULT NULL::uuid, command text DEFAULT NULL::text, origin text DEFAULT NULL::text, is_processed boolean DEFAULT NULL::boolean)
 RETURNS SETOF annals.listed_event
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_variable
declare
    page annals.page_context := annals.page_context(is_newest, from_time, to_time, after, up_to, is_processed is false);
begin
    if is_newest then 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                select * from ((
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.event_number) > (page.above_swept) and (e.event_number) < (page.below)  
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.event_number desc limit row_limit) union all (
                    select e.* from annals.parked_streams p cross join lateral (
                        select * from annals.events e
                         where e.tenant_id = page.tenant
                           and (e.aggregate_id, e.aggregate_type, e.aggregate_version) >= (p.aggregate_id, p.aggregate_type, p.aggregate_version)
                           and (e.aggregate_id, e.aggregate_type, e.aggregate_version) <= (p.aggregate_id, p.aggregate_type, 2147483647)
                           and e.event_number > page.above and e.event_number < page.below and e.event_number <= page.position 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                         order by e.aggregate_id desc, e.aggregate_type desc, e.aggregate_version desc limit row_limit) as e
                     where p.tenant_id = page.tenant)) as e
                 order by e.event_number desc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    else 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                select * from ((
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.event_number) > (page.above_swept) and (e.event_number) < (page.below)  
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.event_number asc limit row_limit) union all (
                    select e.* from annals.parked_streams p cross join lateral (
                        select * from annals.events e
                         where e.tenant_id = page.tenant
                           and (e.aggregate_id, e.aggregate_type, e.aggregate_version) >= (p.aggregate_id, p.aggregate_type, p.aggregate_version)
                           and (e.aggregate_id, e.aggregate_type, e.aggregate_version) <= (p.aggregate_id, p.aggregate_type, 2147483647)
                           and e.event_number > page.above and e.event_number < page.below and e.event_number <= page.position 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                         order by e.aggregate_id asc, e.aggregate_type asc, e.aggregate_version asc limit row_limit) as e
                     where p.tenant_id = page.tenant)) as e
                 order by e.event_number asc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    end if;
end
$function$;
grant execute on function annals.list_events_unprocessed(boolean,bigint,bigint,bigint,bigint,timestamp with time zone,timestamp with time zone,text[],text,text,uuid,text,text,uuid,text,text,boolean) to authenticated;

-- Events with these ids, in their order.
create function annals.find_events(is_newest boolean, after bigint, row_limit bigint, max_bytes bigint, up_to bigint DEFAULT NULL::bigint, from_time timestamp with time zone DEFAULT NULL::timestamp with time zone, to_time timestamp with time zone DEFAULT NULL::timestamp with time zone, event_types text[] DEFAULT NULL::text[], stream_type text DEFAULT NULL::text, stream_id text DEFAULT NULL::text, person uuid DEFAULT NULL::uuid, actor text DEFAULT NULL::text, correlation text DEFAULT NULL::text, causation uuid DEFAULT NULL::uuid, command text DEFAULT NULL::text, origin text DEFAULT NULL::text, is_processed boolean DEFAULT NULL::boolean, ids uuid[] DEFAULT NULL::uuid[])
 RETURNS SETOF annals.listed_event
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_variable
declare
    page annals.page_context := annals.page_context(is_newest, from_time, to_time, after, up_to, is_processed is false);
begin
    if is_newest then 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                select e.* from unnest(ids) as i (id) cross join lateral (
                    select * from annals.events e
                     where e.tenant_id = page.tenant and e.id >= i.id and e.id <= i.id order by e.id limit 1) as e
                 limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    else 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                select e.* from unnest(ids) as i (id) cross join lateral (
                    select * from annals.events e
                     where e.tenant_id = page.tenant and e.id >= i.id and e.id <= i.id order by e.id limit 1) as e
                 limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    end if;
end
$function$;
grant execute on function annals.find_events(boolean,bigint,bigint,bigint,bigint,timestamp with time zone,timestamp with time zone,text[],text,text,uuid,text,text,uuid,text,text,boolean,uuid[]) to authenticated;

-- Events of one stream; after and up_to are versions.
create function annals.list_history(is_newest boolean, after bigint, row_limit bigint, max_bytes bigint, up_to bigint DEFAULT NULL::bigint, from_time timestamp with time zone DEFAULT NULL::timestamp with time zone, to_time timestamp with time zone DEFAULT NULL::timestamp with time zone, event_types text[] DEFAULT NULL::text[], stream_type text DEFAULT NULL::text, stream_id text DEFAULT NULL::text, person uuid DEFAULT NULL::uuid, actor text DEFAULT NULL::text, correlation text DEFAULT NULL::text, causation uuid DEFAULT NULL::uuid, command text DEFAULT NULL::text, origin text DEFAULT NULL::text, is_processed boolean DEFAULT NULL::boolean)
 RETURNS SETOF annals.listed_event
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_variable
declare
    page annals.page_context := annals.page_context(is_newest, from_time, to_time, after, up_to, is_processed is false);
begin
    page.sees_state := annals.sees_state(stream_type, stream_id);
    if page.sees_state then
        page.projected := (select h.projected_version from annals.heads h
                            where h.tenant_id = page.tenant and h.aggregate_type = stream_type and h.aggregate_id = stream_id);
    end if;
    page.skipped := array(select s.aggregate_version from annals.skipped_events s
                           where s.tenant_id = page.tenant and s.aggregate_type = stream_type and s.aggregate_id = stream_id);
    page.skipped_before := (select count(*) from unnest(page.skipped) as s (version) where s.version <= page.above);
    if is_newest then 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   case when page.sees_state then coalesce(e.aggregate_version <= page.projected, false) else annals.is_projected(e.event_number) end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.aggregate_id, e.aggregate_type, e.aggregate_version) > (stream_id, stream_type, page.above)
                       and (e.aggregate_id, e.aggregate_type, e.aggregate_version) < (stream_id, stream_type, page.below) 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = case when page.sees_state then coalesce(e.aggregate_version <= page.projected, false) else annals.is_projected(e.event_number) end)
                     order by e.aggregate_id desc, e.aggregate_type desc, e.aggregate_version desc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    else 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   case when page.sees_state then coalesce(e.aggregate_version <= page.projected, false) else annals.is_projected(e.event_number) end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.aggregate_id, e.aggregate_type, e.aggregate_version) > (stream_id, stream_type, page.above)
                       and (e.aggregate_id, e.aggregate_type, e.aggregate_version) < (stream_id, stream_type, page.below) 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = case when page.sees_state then coalesce(e.aggregate_version <= page.projected, false) else annals.is_projected(e.event_number) end)
                     order by e.aggregate_id asc, e.aggregate_type asc, e.aggregate_version asc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    end if;
end
$function$;
grant execute on function annals.list_history(boolean,bigint,bigint,bigint,bigint,timestamp with time zone,timestamp with time zone,text[],text,text,uuid,text,text,uuid,text,text,boolean) to authenticated;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- entity_reads
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- The entity with this id, if the caller may see its state: one row with its projected state, or one for each of the next 64 events that
-- are not projected, of which the first has the state.
create function annals.find_entity(stream_type text, stream_id text)
 RETURNS TABLE(aggregate_type text, aggregate_id text, head_version integer, projected_version integer, started_by text, entity_version integer, entity_created_at timestamp with time zone, entity_updated_at timestamp with time zone, deleted_at timestamp with time zone, state text, aggregate_version integer, event_type text, schema_version text, created_at timestamp with time zone, skipped boolean, data text, revision bigint)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_sort TO 'off'
 SET jit TO 'off'
AS $function$
declare
    tenant uuid := annals.caller_tenant();
    stored record;
    folded int := 0;
begin
    if not (annals.caller_sees_tenant() or annals.sees_state(stream_type, stream_id)) then
        return;
    end if;

    -- Usually the state is projected: then this is all.
    return query
    select h.aggregate_type, h.aggregate_id, h.version, h.projected_version, h.started_by, n.version, n.created_at, n.updated_at, n.deleted_at,
           n.state::text, null::int, null::text, null::text, null::timestamptz, null::boolean, null::text, r.revision
      from annals.catalog_revision r
      join annals.heads h on h.tenant_id = tenant and h.aggregate_type = stream_type and h.aggregate_id = stream_id
      join annals.entities n on n.tenant_id = tenant and n.aggregate_type = stream_type and n.aggregate_id = stream_id
     where r.only_row and n.version = h.version and not annals.needs_rebuild(tenant, stream_type);
    if found then
        return;
    end if;

    select h.version as head_version, h.projected_version, h.started_by, n.version as entity_version, n.created_at, n.updated_at, n.deleted_at,
           n.state, r.revision
      into stored
      from annals.catalog_revision r
      join annals.heads h on h.tenant_id = tenant and h.aggregate_type = stream_type and h.aggregate_id = stream_id
      -- States of an older fold version are not read.
      left join annals.entities n on n.tenant_id = tenant and n.aggregate_type = stream_type and n.aggregate_id = stream_id
           and not annals.needs_rebuild(tenant, stream_type)
     where r.only_row;
    if not found then
        return;
    end if;
    folded := coalesce(stored.entity_version, 0);
    return query
    select stream_type, stream_id, stored.head_version, stored.projected_version, stored.started_by, stored.entity_version,
           stored.created_at, stored.updated_at, stored.deleted_at,
           case when e.aggregate_version = folded + 1 then stored.state::text end,
           e.aggregate_version, e.event_type, e.version, e.created_at,
           exists (select from annals.skipped_events s
                    where s.tenant_id = e.tenant_id and s.aggregate_type = e.aggregate_type and s.aggregate_id = e.aggregate_id
                      and s.aggregate_version = e.aggregate_version),
           e.data::text, stored.revision
      from annals.events e
     where e.tenant_id = tenant
       and (e.aggregate_id, e.aggregate_type, e.aggregate_version) > (stream_id, stream_type, folded)
       and (e.aggregate_id, e.aggregate_type, e.aggregate_version) <= (stream_id, stream_type, stored.head_version)
     order by e.aggregate_id, e.aggregate_type, e.aggregate_version limit 64;
end
$function$;
grant execute on function annals.find_entity(text,text) to authenticated;

-- Where a fold of a stream begins and ends, if the caller may see its state: upto is the last version up to last_version or, if a time is
-- given, the one that the stream had then. With from_states, the newest state up to that version: the projected one, or a snapshot with the
-- current fold version and a correct digest; corrupt counts newer snapshots whose digest is wrong.
create function annals.find_past(stream_type text, stream_id text, last_version integer, at timestamp with time zone, from_states boolean)
 RETURNS TABLE(head_version integer, projected_version integer, started_by text, upto integer, in_future boolean, revision bigint, entity_version integer, entity_created_at timestamp with time zone, entity_updated_at timestamp with time zone, deleted_at timestamp with time zone, state text, is_snapshot boolean, corrupt bigint)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_sort TO 'off'
 SET jit TO 'off'
AS $function$
declare
    tenant   uuid := annals.caller_tenant();
    snapshot annals.snapshots;
begin
    if not annals.sees_state(stream_type, stream_id) then
        return;
    end if;
    select h.version, h.projected_version, h.started_by, r.revision
      into head_version, projected_version, started_by, revision
      from annals.catalog_revision r
      join annals.heads h on h.tenant_id = tenant and h.aggregate_type = stream_type and h.aggregate_id = stream_id
     where r.only_row;
    if not found then
        return;
    end if;
    upto := case when at is null then least(last_version, head_version)
                 else annals.version_at(tenant, stream_type, stream_id, head_version, at) end;
    in_future := coalesce(at > clock_timestamp(), false);
    corrupt := 0;
    if from_states then
        select n.version, n.created_at, n.updated_at, n.deleted_at, n.state::text, false
          into entity_version, entity_created_at, entity_updated_at, deleted_at, state, is_snapshot
          from annals.entities n
         where n.tenant_id = tenant and n.aggregate_type = stream_type and n.aggregate_id = stream_id and n.version <= upto
           and not annals.needs_rebuild(tenant, stream_type);
        for snapshot in
            select s.* from annals.snapshots s
             where s.tenant_id = tenant and s.aggregate_type = stream_type and s.aggregate_id = stream_id
               and s.version <= upto and s.version > coalesce(entity_version, 0)
               and s.fold_version = annals.fold_version_of(tenant, stream_type)
             order by s.tenant_id, s.aggregate_type, s.aggregate_id, s.version desc
        loop
            if snapshot.digest = annals.snapshot_digest(snapshot) then
                entity_version := snapshot.version;
                entity_created_at := snapshot.created_at;
                entity_updated_at := snapshot.updated_at;
                deleted_at := snapshot.deleted_at;
                state := snapshot.state::text;
                is_snapshot := true;
                exit;
            end if;
            corrupt := corrupt + 1;
        end loop;
    end if;
    return next;
end
$function$;
grant execute on function annals.find_past(text,text,integer,timestamp with time zone,boolean) to authenticated;

-- The events of a stream after a version and up to another, for a fold. The event with which their data reach max_bytes is the last.
create function annals.list_facts(stream_type text, stream_id text, after integer, upto integer, row_limit bigint, max_bytes bigint)
 RETURNS TABLE(aggregate_version integer, event_type text, schema_version text, created_at timestamp with time zone, data text, skipped boolean, revision bigint)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_sort TO 'off'
 SET jit TO 'off'
AS $function$
declare
    tenant  uuid := annals.caller_tenant();
    current bigint := (select r.revision from annals.catalog_revision r where r.only_row);
    skips   int[] := array(select s.aggregate_version from annals.skipped_events s
                            where s.tenant_id = tenant and s.aggregate_type = stream_type and s.aggregate_id = stream_id);
begin
    -- `offset 0` makes PostgreSQL convert each value to text only once.
    return query
    select p.aggregate_version, p.event_type, p.version, p.created_at, p.data, p.aggregate_version = any (skips), current
      from (select t.*, sum(octet_length(t.data)) over (rows unbounded preceding) as running_bytes
              from (select e.aggregate_version, e.event_type, e.version, e.created_at, e.data::text
                      from annals.events e
                     where e.tenant_id = tenant
                       and (e.aggregate_id, e.aggregate_type, e.aggregate_version) > (stream_id, stream_type, after)
                       and (e.aggregate_id, e.aggregate_type, e.aggregate_version) <= (stream_id, stream_type, upto)
                     order by e.aggregate_id, e.aggregate_type, e.aggregate_version limit row_limit offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) < max_bytes;
end
$function$;
grant execute on function annals.list_facts(text,text,integer,integer,bigint,bigint) to authenticated;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- field_index
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- Source of indexed_fields.id.
-- sequence annals.indexed_fields_id_seq belongs to an identity column

-- Fields by which events of a type can be found.
create table annals.indexed_fields (
    -- The field in annals.field_values. It is never used for another field.
    id integer not null generated by default as identity,
    -- The index has the events with this number or a lower one; null: those up to annals.indexed_events.position.
    filled_to bigint default 0,
    -- Tenant that declared it; null: a migration, for every tenant.
    tenant_id uuid,
    -- The type, as in annals.event_types.
    event_type text collate "C" not null,
    -- Name of a top-level field of data.
    field text collate "C" not null,
    -- It is not declared any more. The sweep removes its values, and then this row.
    is_dropped boolean not null default false,
    -- Actor that declared it; system: a migration.
    created_by text not null,
    -- When it was declared.
    created_at timestamp with time zone not null default clock_timestamp(),
    constraint indexed_fields_filled CHECK ((filled_to >= 0)),
    constraint indexed_fields_dropped CHECK (((NOT is_dropped) OR (tenant_id IS NOT NULL))),
    constraint indexed_fields_name CHECK ((field ~ '^[A-Za-z_][A-Za-z0-9_]{0,62}$'::text)),
    constraint indexed_fields_pkey PRIMARY KEY (id)
);
CREATE UNIQUE INDEX indexed_fields_key ON annals.indexed_fields USING btree (event_type, field, tenant_id) NULLS NOT DISTINCT WHERE (NOT is_dropped);
CREATE TRIGGER indexed_fields_revision AFTER INSERT OR UPDATE OF is_dropped ON annals.indexed_fields FOR EACH STATEMENT EXECUTE FUNCTION annals.raise_catalog_revision();
alter table annals.indexed_fields enable row level security;
create policy indexed_fields_read on annals.indexed_fields for select to authenticated using (((tenant_id IS NULL) OR (tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant))));
create policy indexed_fields_project on annals.indexed_fields for all to annals_projector using (true) with check (true);
grant select, delete on annals.indexed_fields to annals_projector;
grant select on annals.indexed_fields to authenticated;
grant update (filled_to) on annals.indexed_fields to annals_projector;

-- The index: a row for each event and indexed field that has a value. Only the sweep writes it.
create table annals.field_values (
    -- Tenant of the event.
    tenant_id uuid not null,
    -- The event.
    event_number bigint not null,
    -- The field, in annals.indexed_fields.
    field_id integer not null,
    -- annals.field_key of the value.
    value text collate "C" not null,
    constraint field_values_pkey PRIMARY KEY (tenant_id, field_id, value, event_number)
);
alter table annals.field_values enable row level security;
create policy field_values_read on annals.field_values for select to authenticated using (((tenant_id = ( SELECT annals.caller_tenant() AS caller_tenant)) AND ( SELECT annals.caller_sees_tenant() AS caller_sees_tenant)));
create policy field_values_project on annals.field_values for all to annals_projector using (true) with check (true);
grant select, insert, delete on annals.field_values to annals_projector;
grant select on annals.field_values to authenticated;

-- One row: up to which event number annals.field_values is filled. Its lock lets one process at a time fill it.
create table annals.indexed_events (
    -- Every event with this number or a lower one is included, for fields whose filled_to is null.
    "position" bigint not null,
    -- Always true, so there is only one row.
    only_row boolean not null default true,
    constraint indexed_events_only_row CHECK (only_row),
    constraint indexed_events_pkey PRIMARY KEY (only_row)
);
alter table annals.indexed_events enable row level security;
create policy indexed_events_read on annals.indexed_events for select to authenticated using (true);
create policy indexed_events_project on annals.indexed_events for all to annals_projector using (true) with check (true);
grant select, update on annals.indexed_events to annals_projector;
grant select on annals.indexed_events to authenticated;

-- The key of a value in the field index: its first 64 characters as text, without zeros at the end of a number's fraction; null for null,
-- arrays and objects, which are not indexed.
create function annals.field_key(value jsonb)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
    select case jsonb_typeof(value) when 'string' then left(value #>> '{}', 64)
                                    when 'number' then left(trim_scale((value #>> '{}')::numeric)::text, 64)
                                    when 'boolean' then value #>> '{}' end
$function$;
grant execute on function annals.field_key(jsonb) to authenticated;

-- For the sweep: adds the values of the next events, whose numbers are up to up_to, a high-water mark, and cover a range of at most so
-- many. Returns the position that is reached.
create function annals.index_new_events(up_to bigint, most integer)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    done  bigint;
    reach bigint := up_to;
begin
    -- A concurrent call waits here. Below, `offset 0` makes PostgreSQL read each value from the data only once.
    select i.position into done from annals.indexed_events i where i.only_row for update;
    if done >= up_to then
        return done;
    end if;
    if exists (select from annals.indexed_fields f where f.filled_to is null and not f.is_dropped) then
        reach := least(up_to, done + most);
        insert into annals.field_values (tenant_id, event_number, field_id, value)
        select k.tenant_id, k.event_number, k.id, k.key
          from (select n.tenant_id, n.event_number, n.id,
                       case jsonb_typeof(n.value) when 'string' then left(n.value #>> '{}', 64)
                                                       when 'number' then left(trim_scale((n.value #>> '{}')::numeric)::text, 64)
                                                       when 'boolean' then n.value #>> '{}' end as key
                  from (select e.tenant_id, e.event_number, f.id, e.data -> f.field as value
                          from annals.events e
                          join annals.indexed_fields f on f.event_type = e.event_type and (f.tenant_id is null or f.tenant_id = e.tenant_id)
                         where e.event_number > done and e.event_number <= reach and f.filled_to is null and not f.is_dropped
                        offset 0) as n) as k
         where k.key is not null;
    end if;
    update annals.indexed_events i set position = reach where i.only_row;
    return reach;
end
$function$;
grant execute on function annals.index_new_events(bigint,integer) to annals_projector;

-- For the sweep: one step of what registrations have left to do. Removes at most so many values of a dropped field, or else adds those of
-- so many past events for a field that was declared after them. Returns false if there is nothing to do.
create function annals.fill_field_index(most integer)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
declare
    goal  bigint;
    reach bigint;
    lost  bigint;
    f     annals.indexed_fields;
begin
    select i.position into goal from annals.indexed_events i where i.only_row for update;

    select * into f from annals.indexed_fields d where d.is_dropped order by d.id limit 1;
    if found then
        delete from annals.field_values v
         where v.ctid = any (array(select o.ctid from annals.field_values o where o.tenant_id = f.tenant_id and o.field_id = f.id limit most));
        get diagnostics lost = row_count;
        if lost < most then
            delete from annals.indexed_fields d where d.id = f.id;
        end if;
        return true;
    end if;

    -- The one that is furthest behind.
    select * into f from annals.indexed_fields d where d.filled_to is not null order by d.filled_to, d.id limit 1;
    if not found then
        return false;
    end if;
    if f.tenant_id is null then
        reach := least(goal, f.filled_to + most);
        insert into annals.field_values (tenant_id, event_number, field_id, value)
        select k.tenant_id, k.event_number, f.id, k.key
          from (select n.tenant_id, n.event_number,
                       case jsonb_typeof(n.value) when 'string' then left(n.value #>> '{}', 64)
                                                       when 'number' then left(trim_scale((n.value #>> '{}')::numeric)::text, 64)
                                                       when 'boolean' then n.value #>> '{}' end as key
                  from (select e.tenant_id, e.event_number, e.data -> f.field as value
                          from annals.events e
                         where e.event_number > f.filled_to and e.event_number <= reach and e.event_type = f.event_type
                        offset 0) as n) as k
         where k.key is not null;
    else
        -- A tenant's type may be rare, so its events are found by their type.
        with found as materialized (
            select e.event_number, e.data -> f.field as value
              from annals.events e
             where e.tenant_id = f.tenant_id and (e.event_type, e.event_number) > (f.event_type, f.filled_to)
               and (e.event_type, e.event_number) <= (f.event_type, goal)
             order by e.event_type, e.event_number limit most
        ), added as (
            insert into annals.field_values (tenant_id, event_number, field_id, value)
            select f.tenant_id, k.event_number, f.id, k.key
              from (select n.event_number,
                           case jsonb_typeof(n.value) when 'string' then left(n.value #>> '{}', 64)
                                                      when 'number' then left(trim_scale((n.value #>> '{}')::numeric)::text, 64)
                                                      when 'boolean' then n.value #>> '{}' end as key
                      from found n) as k
             where k.key is not null
        )
        select case when count(*) < most then goal else max(n.event_number) end into reach from found n;
    end if;
    update annals.indexed_fields d set filled_to = nullif(reach, goal) where d.id = f.id;
    return true;
end
$function$;
grant execute on function annals.fill_field_index(integer) to annals_projector;

-- For migrations: declares fields of a built-in type by which its events can be found. Values that are no strings, numbers or booleans are
-- not found.
create function annals.declare_indexed(event_type text, VARIADIC fields text[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    missing text;
begin
    select f.field into missing from unnest(fields) as f (field)
     where not exists (select from annals.event_type_versions v
                        where v.event_type = declare_indexed.event_type and v.tenant_id is null and v.schema -> 'properties' ? f.field);
    if found then
        raise exception 'no version of % has a field %', event_type, missing using errcode = 'no_data_found';
    end if;
    insert into annals.indexed_fields (event_type, field, created_by) select declare_indexed.event_type, f.field, 'system' from unnest(fields) as f (field);
end
$function$;

-- As annals.register_event_type, and declares fields by which events of the type can be found, beside those of the built-in type; null:
-- those that were declared stay.
create function annals.register_indexed_type(claims jsonb, event_type text, aggregate_type text, version text, description text, effect jsonb, posters text[], schema jsonb, example jsonb, inverse jsonb, upcasters jsonb, based_on text, requires text, starter_sees boolean, indexed text[])
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    most_of_type   constant int := 5;
    most_of_tenant constant int := 100;
    tenant uuid;
    actor  text;
begin
    perform annals.register_event_type(claims, event_type, aggregate_type, version, description, effect, posters, schema, example, inverse, upcasters,
                                       based_on, requires, starter_sees);
    if indexed is null then
        return;
    end if;
    select c.tenant, c.actor into tenant, actor from annals.caller_of(claims) c;
    update annals.indexed_fields f set is_dropped = true
     where f.tenant_id = tenant and f.event_type = register_indexed_type.event_type and not f.is_dropped and f.field <> all (indexed);
    insert into annals.indexed_fields (tenant_id, event_type, field, created_by)
    select tenant, register_indexed_type.event_type, d.field, actor
      from (select distinct n.field from unnest(indexed) as n (field)) as d
     where not exists (select from annals.indexed_fields f
                        where f.event_type = register_indexed_type.event_type and f.field = d.field and not f.is_dropped
                          and (f.tenant_id is null or f.tenant_id = tenant));
    if (select count(distinct f.field) from annals.indexed_fields f
         where f.event_type = register_indexed_type.event_type and not f.is_dropped and (f.tenant_id is null or f.tenant_id = tenant)) > most_of_type then
        perform annals.refuse(422, 'too_many_indexed_fields', format('%s would have more than %s indexed fields, with those of the built-in type', event_type, most_of_type));
    -- With dropped ones, whose values are still to be removed.
    elsif (select count(*) from annals.indexed_fields f where f.tenant_id = tenant) > most_of_tenant then
        perform annals.refuse(422, 'too_many_indexed_fields', format('the tenant would have more than %s indexed fields', most_of_tenant));
    end if;
end
$function$;
grant execute on function annals.register_indexed_type(jsonb,text,text,text,text,jsonb,text[],jsonb,jsonb,jsonb,jsonb,text,text,boolean,text[]) to annals_api;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- field_lists
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- Refuses a page by the field index for which too many events would be read from the log: those after this number, which the index does not
-- have yet.
create function annals.refuse_if_behind(page annals.page_context, above bigint)
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
 SET jit TO 'off'
AS $function$
declare
    most constant int := 100000;
begin
    if (select count(*) from (
            select from annals.events e
             where e.tenant_id = page.tenant and e.event_number > above and e.event_number < page.below
             order by e.event_number limit most + 1) as e) > most then
        perform annals.refuse(503, 'field_index_behind', format('more than %s events are not in the index of this field yet; sweeps add them: try again in a minute', most));
    end if;
end
$function$;
grant execute on function annals.refuse_if_behind(annals.page_context,bigint) to authenticated;

-- Events of some types by a field that they declare as indexed.
create function annals.list_events_of_field(is_newest boolean, after bigint, row_limit bigint, max_bytes bigint, up_to bigint DEFAULT NULL::bigint, from_time timestamp with time zone DEFAULT NULL::timestamp with time zone, to_time timestamp with time zone DEFAULT NULL::timestamp with time zone, event_types text[] DEFAULT NULL::text[], stream_type text DEFAULT NULL::text, stream_id text DEFAULT NULL::text, person uuid DEFAULT NULL::uuid, actor text DEFAULT NULL::text, correlation text DEFAULT NULL::text, causation uuid DEFAULT NULL::uuid, command text DEFAULT NULL::text, origin text DEFAULT NULL::text, is_processed boolean DEFAULT NULL::boolean, field text DEFAULT NULL::text, wanted jsonb[] DEFAULT NULL::jsonb[])
 RETURNS SETOF annals.listed_event
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_variable
declare
    page annals.page_context := annals.page_context(is_newest, from_time, to_time, after, up_to, is_processed is false);
    keys   text[] := array(select distinct annals.field_key(w) from unnest(wanted) as w);
    kinds  text[];
    ids    int[];
    aboves bigint[];
    belows bigint[];
    lowest bigint;
begin
    -- A type that does not declare the field, any more or yet, is read from the log.
    select array_agg(t.event_type), array_agg(f.id), array_agg(greatest(page.above, f.position)), array_agg(least(page.below, f.position + 1)),
           min(greatest(page.above, f.position))
      into kinds, ids, aboves, belows, lowest
      from unnest(event_types) as t (event_type)
      left join lateral (
           select d.id, coalesce(d.filled_to, i.position) as position
             from annals.indexed_fields d
             join annals.indexed_events i on i.only_row
            where d.event_type = t.event_type and d.field = list_events_of_field.field and not d.is_dropped
            order by 2 desc limit 1) as f on true;
    perform annals.refuse_if_behind(page, lowest);
    if is_newest then 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                select * from (
                    (select e.* from unnest(ids, belows) as f (id, below) cross join unnest(keys) as k (value) cross join lateral (
                        select e.* from annals.field_values v cross join lateral (
                            select * from annals.events e
                             where e.tenant_id = page.tenant and e.event_number >= v.event_number and e.event_number <= v.event_number 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and e.data -> field = any (wanted) and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                             order by e.event_number limit 1) as e
                         where v.tenant_id = page.tenant and v.field_id = f.id and v.value = k.value
                           and v.event_number > page.above and v.event_number < f.below
                         order by v.event_number desc limit row_limit) as e)
                    union all
                    (select * from annals.events e
                      where e.tenant_id = page.tenant and e.event_number > lowest and e.event_number < page.below
                        and e.event_number > aboves[array_position(kinds, e.event_type)] 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and e.data -> field = any (wanted) and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                      order by e.event_number desc limit row_limit)) as e
                 order by e.event_number desc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    else 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                select * from (
                    (select e.* from unnest(ids, belows) as f (id, below) cross join unnest(keys) as k (value) cross join lateral (
                        select e.* from annals.field_values v cross join lateral (
                            select * from annals.events e
                             where e.tenant_id = page.tenant and e.event_number >= v.event_number and e.event_number <= v.event_number 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and e.data -> field = any (wanted) and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                             order by e.event_number limit 1) as e
                         where v.tenant_id = page.tenant and v.field_id = f.id and v.value = k.value
                           and v.event_number > page.above and v.event_number < f.below
                         order by v.event_number asc limit row_limit) as e)
                    union all
                    (select * from annals.events e
                      where e.tenant_id = page.tenant and e.event_number > lowest and e.event_number < page.below
                        and e.event_number > aboves[array_position(kinds, e.event_type)] 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and e.data -> field = any (wanted) and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                      order by e.event_number asc limit row_limit)) as e
                 order by e.event_number asc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    end if;
end
$function$;
grant execute on function annals.list_events_of_field(boolean,bigint,bigint,bigint,bigint,timestamp with time zone,timestamp with time zone,text[],text,text,uuid,text,text,uuid,text,text,boolean,text,jsonb[]) to authenticated;

-- Events of a flow, by a field.
create function annals.list_events_of_correlation_by_field(is_newest boolean, after bigint, row_limit bigint, max_bytes bigint, up_to bigint DEFAULT NULL::bigint, from_time timestamp with time zone DEFAULT NULL::timestamp with time zone, to_time timestamp with time zone DEFAULT NULL::timestamp with time zone, event_types text[] DEFAULT NULL::text[], stream_type text DEFAULT NULL::text, stream_id text DEFAULT NULL::text, person uuid DEFAULT NULL::uuid, actor text DEFAULT NULL::text, correlation text DEFAULT NULL::text, causation uuid DEFAULT NULL::uuid, command text DEFAULT NULL::text, origin text DEFAULT NULL::text, is_processed boolean DEFAULT NULL::boolean, field text DEFAULT NULL::text, wanted jsonb[] DEFAULT NULL::jsonb[])
 RETURNS SETOF annals.listed_event
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_variable
declare
    page annals.page_context := annals.page_context(is_newest, from_time, to_time, after, up_to, is_processed is false);
begin
    if is_newest then 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.correlation_id, e.event_number) > (correlation, page.above) and (e.correlation_id, e.event_number) < (correlation, page.below) and e.correlation_id is not null 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and e.data -> field = any (wanted) and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.correlation_id desc, e.event_number desc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    else 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.correlation_id, e.event_number) > (correlation, page.above) and (e.correlation_id, e.event_number) < (correlation, page.below) and e.correlation_id is not null 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and e.data -> field = any (wanted) and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.correlation_id asc, e.event_number asc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    end if;
end
$function$;
grant execute on function annals.list_events_of_correlation_by_field(boolean,bigint,bigint,bigint,bigint,timestamp with time zone,timestamp with time zone,text[],text,text,uuid,text,text,uuid,text,text,boolean,text,jsonb[]) to authenticated;

-- Events that an event caused, by a field.
create function annals.list_events_of_causation_by_field(is_newest boolean, after bigint, row_limit bigint, max_bytes bigint, up_to bigint DEFAULT NULL::bigint, from_time timestamp with time zone DEFAULT NULL::timestamp with time zone, to_time timestamp with time zone DEFAULT NULL::timestamp with time zone, event_types text[] DEFAULT NULL::text[], stream_type text DEFAULT NULL::text, stream_id text DEFAULT NULL::text, person uuid DEFAULT NULL::uuid, actor text DEFAULT NULL::text, correlation text DEFAULT NULL::text, causation uuid DEFAULT NULL::uuid, command text DEFAULT NULL::text, origin text DEFAULT NULL::text, is_processed boolean DEFAULT NULL::boolean, field text DEFAULT NULL::text, wanted jsonb[] DEFAULT NULL::jsonb[])
 RETURNS SETOF annals.listed_event
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_variable
declare
    page annals.page_context := annals.page_context(is_newest, from_time, to_time, after, up_to, is_processed is false);
begin
    if is_newest then 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.causation_id, e.event_number) > (causation, page.above) and (e.causation_id, e.event_number) < (causation, page.below) and e.causation_id is not null 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and e.data -> field = any (wanted) and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.causation_id desc, e.event_number desc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    else 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.causation_id, e.event_number) > (causation, page.above) and (e.causation_id, e.event_number) < (causation, page.below) and e.causation_id is not null 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and e.data -> field = any (wanted) and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.causation_id asc, e.event_number asc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    end if;
end
$function$;
grant execute on function annals.list_events_of_causation_by_field(boolean,bigint,bigint,bigint,bigint,timestamp with time zone,timestamp with time zone,text[],text,text,uuid,text,text,uuid,text,text,boolean,text,jsonb[]) to authenticated;

-- Events that answer a command, by a field.
create function annals.list_events_of_command_by_field(is_newest boolean, after bigint, row_limit bigint, max_bytes bigint, up_to bigint DEFAULT NULL::bigint, from_time timestamp with time zone DEFAULT NULL::timestamp with time zone, to_time timestamp with time zone DEFAULT NULL::timestamp with time zone, event_types text[] DEFAULT NULL::text[], stream_type text DEFAULT NULL::text, stream_id text DEFAULT NULL::text, person uuid DEFAULT NULL::uuid, actor text DEFAULT NULL::text, correlation text DEFAULT NULL::text, causation uuid DEFAULT NULL::uuid, command text DEFAULT NULL::text, origin text DEFAULT NULL::text, is_processed boolean DEFAULT NULL::boolean, field text DEFAULT NULL::text, wanted jsonb[] DEFAULT NULL::jsonb[])
 RETURNS SETOF annals.listed_event
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_variable
declare
    page annals.page_context := annals.page_context(is_newest, from_time, to_time, after, up_to, is_processed is false);
begin
    if is_newest then 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.command_id, e.event_number) > (command, page.above) and (e.command_id, e.event_number) < (command, page.below) and e.command_id is not null 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and e.data -> field = any (wanted) and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.command_id desc, e.event_number desc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    else 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.command_id, e.event_number) > (command, page.above) and (e.command_id, e.event_number) < (command, page.below) and e.command_id is not null 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and e.data -> field = any (wanted) and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.command_id asc, e.event_number asc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    end if;
end
$function$;
grant execute on function annals.list_events_of_command_by_field(boolean,bigint,bigint,bigint,bigint,timestamp with time zone,timestamp with time zone,text[],text,text,uuid,text,text,uuid,text,text,boolean,text,jsonb[]) to authenticated;

-- Events of the streams with an id, by a field.
create function annals.list_events_of_id_by_field(is_newest boolean, after bigint, row_limit bigint, max_bytes bigint, up_to bigint DEFAULT NULL::bigint, from_time timestamp with time zone DEFAULT NULL::timestamp with time zone, to_time timestamp with time zone DEFAULT NULL::timestamp with time zone, event_types text[] DEFAULT NULL::text[], stream_type text DEFAULT NULL::text, stream_id text DEFAULT NULL::text, person uuid DEFAULT NULL::uuid, actor text DEFAULT NULL::text, correlation text DEFAULT NULL::text, causation uuid DEFAULT NULL::uuid, command text DEFAULT NULL::text, origin text DEFAULT NULL::text, is_processed boolean DEFAULT NULL::boolean, field text DEFAULT NULL::text, wanted jsonb[] DEFAULT NULL::jsonb[])
 RETURNS SETOF annals.listed_event
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_variable
declare
    page annals.page_context := annals.page_context(is_newest, from_time, to_time, after, up_to, is_processed is false);
begin
    if is_newest then 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                select e.* from annals.streams_of_id(page, stream_id, stream_type) as s cross join lateral (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.aggregate_id, e.aggregate_type, e.aggregate_version) > (list_events_of_id_by_field.stream_id, s.stream_type, s.above)
                       and (e.aggregate_id, e.aggregate_type, e.aggregate_version) < (list_events_of_id_by_field.stream_id, s.stream_type, s.below)
                       and e.event_number > page.above and e.event_number < page.below 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and e.data -> field = any (wanted) and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.aggregate_id desc, e.aggregate_type desc, e.aggregate_version desc limit row_limit) as e
                 order by e.event_number desc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    else 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                select e.* from annals.streams_of_id(page, stream_id, stream_type) as s cross join lateral (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.aggregate_id, e.aggregate_type, e.aggregate_version) > (list_events_of_id_by_field.stream_id, s.stream_type, s.above)
                       and (e.aggregate_id, e.aggregate_type, e.aggregate_version) < (list_events_of_id_by_field.stream_id, s.stream_type, s.below)
                       and e.event_number > page.above and e.event_number < page.below 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and e.data -> field = any (wanted) and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.aggregate_id asc, e.aggregate_type asc, e.aggregate_version asc limit row_limit) as e
                 order by e.event_number asc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    end if;
end
$function$;
grant execute on function annals.list_events_of_id_by_field(boolean,bigint,bigint,bigint,bigint,timestamp with time zone,timestamp with time zone,text[],text,text,uuid,text,text,uuid,text,text,boolean,text,jsonb[]) to authenticated;

-- What a caller sees who does not see the tenant, by a field.
create function annals.list_events_of_caller_by_field(is_newest boolean, after bigint, row_limit bigint, max_bytes bigint, up_to bigint DEFAULT NULL::bigint, from_time timestamp with time zone DEFAULT NULL::timestamp with time zone, to_time timestamp with time zone DEFAULT NULL::timestamp with time zone, event_types text[] DEFAULT NULL::text[], stream_type text DEFAULT NULL::text, stream_id text DEFAULT NULL::text, person uuid DEFAULT NULL::uuid, actor text DEFAULT NULL::text, correlation text DEFAULT NULL::text, causation uuid DEFAULT NULL::uuid, command text DEFAULT NULL::text, origin text DEFAULT NULL::text, is_processed boolean DEFAULT NULL::boolean, field text DEFAULT NULL::text, wanted jsonb[] DEFAULT NULL::jsonb[])
 RETURNS SETOF annals.listed_event
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_variable
declare
    page annals.page_context := annals.page_context(is_newest, from_time, to_time, after, up_to, is_processed is false);
begin
    if is_newest then 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                select * from ((
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.created_by, e.event_number) > (page.actor, page.above) and (e.created_by, e.event_number) < (page.actor, page.below)  
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and e.data -> field = any (wanted) and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.created_by desc, e.event_number desc limit row_limit) union all (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.started_by, e.event_number) > (page.actor, page.above) and (e.started_by, e.event_number) < (page.actor, page.below) and e.starter_sees and e.started_by <> e.created_by 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and e.data -> field = any (wanted) and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.started_by desc, e.event_number desc limit row_limit) union all (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.user_id, e.event_number) > (page.person, page.above) and (e.user_id, e.event_number) < (page.person, page.below) and e.created_by not like 'user:%' and e.user_id is not null and e.created_by <> page.actor
                       and not (e.started_by = page.actor and e.starter_sees) 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and e.data -> field = any (wanted) and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.user_id desc, e.event_number desc limit row_limit)) as e
                 order by e.event_number desc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    else 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                select * from ((
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.created_by, e.event_number) > (page.actor, page.above) and (e.created_by, e.event_number) < (page.actor, page.below)  
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and e.data -> field = any (wanted) and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.created_by asc, e.event_number asc limit row_limit) union all (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.started_by, e.event_number) > (page.actor, page.above) and (e.started_by, e.event_number) < (page.actor, page.below) and e.starter_sees and e.started_by <> e.created_by 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and e.data -> field = any (wanted) and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.started_by asc, e.event_number asc limit row_limit) union all (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.user_id, e.event_number) > (page.person, page.above) and (e.user_id, e.event_number) < (page.person, page.below) and e.created_by not like 'user:%' and e.user_id is not null and e.created_by <> page.actor
                       and not (e.started_by = page.actor and e.starter_sees) 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and e.data -> field = any (wanted) and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.user_id asc, e.event_number asc limit row_limit)) as e
                 order by e.event_number asc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    end if;
end
$function$;
grant execute on function annals.list_events_of_caller_by_field(boolean,bigint,bigint,bigint,bigint,timestamp with time zone,timestamp with time zone,text[],text,text,uuid,text,text,uuid,text,text,boolean,text,jsonb[]) to authenticated;

-- Events that are not projected yet, by a field, for callers who see the tenant.
create function annals.list_events_unprocessed_by_field(is_newest boolean, after bigint, row_limit bigint, max_bytes bigint, up_to bigint DEFAULT NULL::bigint, from_time timestamp with time zone DEFAULT NULL::timestamp with time zone, to_time timestamp with time zone DEFAULT NULL::timestamp with time zone, event_types text[] DEFAULT NULL::text[], stream_type text DEFAULT NULL::text, stream_id text DEFAULT NULL::text, person uuid DEFAULT NULL::uuid, actor text DEFAULT NULL::text, correlation text DEFAULT NULL::text, causation uuid DEFAULT NULL::uuid, command text DEFAULT NULL::text, origin text DEFAULT NULL::text, is_processed boolean DEFAULT NULL::boolean, field text DEFAULT NULL::text, wanted jsonb[] DEFAULT NULL::jsonb[])
 RETURNS SETOF annals.listed_event
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_variable
declare
    page annals.page_context := annals.page_context(is_newest, from_time, to_time, after, up_to, is_processed is false);
begin
    if is_newest then 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                select * from ((
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.event_number) > (page.above_swept) and (e.event_number) < (page.below)  
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and e.data -> field = any (wanted) and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.event_number desc limit row_limit) union all (
                    select e.* from annals.parked_streams p cross join lateral (
                        select * from annals.events e
                         where e.tenant_id = page.tenant
                           and (e.aggregate_id, e.aggregate_type, e.aggregate_version) >= (p.aggregate_id, p.aggregate_type, p.aggregate_version)
                           and (e.aggregate_id, e.aggregate_type, e.aggregate_version) <= (p.aggregate_id, p.aggregate_type, 2147483647)
                           and e.event_number > page.above and e.event_number < page.below and e.event_number <= page.position 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and e.data -> field = any (wanted) and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                         order by e.aggregate_id desc, e.aggregate_type desc, e.aggregate_version desc limit row_limit) as e
                     where p.tenant_id = page.tenant)) as e
                 order by e.event_number desc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    else 
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from (
                select * from ((
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.event_number) > (page.above_swept) and (e.event_number) < (page.below)  
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and e.data -> field = any (wanted) and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                     order by e.event_number asc limit row_limit) union all (
                    select e.* from annals.parked_streams p cross join lateral (
                        select * from annals.events e
                         where e.tenant_id = page.tenant
                           and (e.aggregate_id, e.aggregate_type, e.aggregate_version) >= (p.aggregate_id, p.aggregate_type, p.aggregate_version)
                           and (e.aggregate_id, e.aggregate_type, e.aggregate_version) <= (p.aggregate_id, p.aggregate_type, 2147483647)
                           and e.event_number > page.above and e.event_number < page.below and e.event_number <= page.position 
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and e.data -> field = any (wanted) and (is_processed is null or is_processed = 
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end)
                         order by e.aggregate_id asc, e.aggregate_type asc, e.aggregate_version asc limit row_limit) as e
                     where p.tenant_id = page.tenant)) as e
                 order by e.event_number asc limit row_limit) as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;

    end if;
end
$function$;
grant execute on function annals.list_events_unprocessed_by_field(boolean,bigint,bigint,bigint,bigint,timestamp with time zone,timestamp with time zone,text[],text,text,uuid,text,text,uuid,text,text,boolean,text,jsonb[]) to authenticated;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- pending_changes
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- How many changes of sales and expenses the key figures lack, for callers who see the tenant. Not exact, but a lower bound, if there are
-- more changes to apply, or more events to examine, than most.
create function annals.changes_pending(tenant uuid, most integer, OUT changes bigint, OUT is_exact boolean)
 RETURNS record
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
 SET jit TO 'off'
AS $function$
declare
    swept     constant bigint := (select c.position from annals.checkpoints c where c.name = 'sweep');
    applied   bigint;
    projected bigint;
    events    bigint;
    parked    bigint;
begin
    applied := (select count(*) from (select from annals.kpi_changes c where c.tenant_id = tenant limit most + 1) as c);
    -- Events after the sweep's position may be projected by a wake-up; their heads say so.
    select count(*), count(*) filter (where e.is_left) into events, projected
      from (select e.aggregate_type in ('sale', 'expense')
                   and e.aggregate_version > coalesce((
                       select h.projected_version from annals.heads h
                        where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), 0)
                   and not exists (
                       select from annals.parked_streams p
                        where p.tenant_id = e.tenant_id and p.aggregate_type = e.aggregate_type and p.aggregate_id = e.aggregate_id) as is_left
              from annals.events e
             where e.tenant_id = tenant and e.event_number > swept
             order by e.event_number limit most + 1) as e;
    parked := (
        select coalesce(sum(h.version - h.projected_version), 0)
          from (select p.aggregate_type, p.aggregate_id from annals.parked_streams p
                 where p.tenant_id = tenant and p.aggregate_type in ('sale', 'expense') limit most + 1) as p
         cross join lateral (
               select h.version, h.projected_version from annals.heads h
                where h.tenant_id = tenant and h.aggregate_type = p.aggregate_type and h.aggregate_id = p.aggregate_id) as h);
    changes := least(applied, most) + projected + parked;
    is_exact := applied <= most and events <= most;
end
$function$;
grant execute on function annals.changes_pending(uuid,integer) to authenticated;

-- -----------------------------------------------------------------------------------------------------------------------------------------
-- reverts
-- -----------------------------------------------------------------------------------------------------------------------------------------

-- Reverts of uploads, at most one for each: who requested it, which worker has the lease, and how far it is.
create table annals.reverts (
    -- The upload.
    upload_id uuid not null,
    -- Tenant of the upload.
    tenant_id uuid not null,
    -- Actor who requested the revert.
    requested_by text collate "C" not null,
    -- The reason that the request gave; null: none.
    reason text,
    -- Claims of the caller who requested it. The compensating events are appended in their name.
    claims jsonb not null,
    -- What the server observed of that request; becomes recorded of each event.
    context jsonb not null,
    -- Of the upload's events, those with this number or a higher one are finished; null: none.
    "position" bigint,
    -- Events that the upload appended.
    events_total bigint not null,
    -- Events that the revert has compensated.
    events_compensated bigint not null default 0,
    -- Events that the revert has left alone; annals.events_left_alone has them.
    events_left bigint not null default 0,
    -- End of the lease: the worker counts as dead after it unless it renews the lease.
    held_until timestamp with time zone,
    -- Worker that has the lease; a new id for each attempt.
    holder uuid,
    -- How many times a worker has begun since the last progress.
    attempts integer not null default 0,
    -- When it was requested.
    created_at timestamp with time zone not null default clock_timestamp(),
    -- When it ended; null until then.
    finished_at timestamp with time zone,
    constraint reverts_held CHECK (((holder IS NULL) = (held_until IS NULL))),
    constraint reverts_finished CHECK (((finished_at IS NULL) OR (holder IS NULL))),
    constraint reverts_counts CHECK ((LEAST(events_total, events_compensated, events_left) >= 0)),
    constraint reverts_pkey PRIMARY KEY (upload_id),
    constraint reverts_upload_fkey FOREIGN KEY (upload_id) REFERENCES annals.uploads(id) ON DELETE CASCADE
);
CREATE INDEX reverts_under_way ON annals.reverts USING btree (created_at) WHERE (finished_at IS NULL);
alter table annals.reverts enable row level security;
create policy reverts_work on annals.reverts for all to annals_projector using (true) with check (true);
grant select, insert, update on annals.reverts to annals_projector;

-- Events of reverted uploads that were not compensated, each with the reason.
create table annals.events_left_alone (
    -- The upload.
    upload_id uuid not null,
    -- Number of the event.
    event_number bigint not null,
    -- Id of the event.
    event_id uuid not null,
    -- Type of its entity.
    aggregate_type text collate "C" not null,
    -- Id of its entity.
    aggregate_id text collate "C" not null,
    -- Why, as a code: changed_since, already_compensated, not_applied …
    code text collate "C" not null,
    -- Why, in human-readable words.
    detail text not null,
    constraint events_left_alone_pkey PRIMARY KEY (upload_id, event_number),
    constraint events_left_alone_revert_fkey FOREIGN KEY (upload_id) REFERENCES annals.reverts(upload_id) ON DELETE CASCADE
);
alter table annals.events_left_alone enable row level security;
create policy events_left_alone_work on annals.events_left_alone for all to annals_projector using (true) with check (true);
grant select, insert on annals.events_left_alone to annals_projector;
