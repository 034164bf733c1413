--
-- PostgreSQL database dump
--


-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: Lager; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA "Lager";


--
-- Name: cutover; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA cutover;


--
-- Name: applied_lsn(text, text); Type: FUNCTION; Schema: cutover; Owner: -
--

CREATE FUNCTION cutover.applied_lsn(plan text, move text DEFAULT NULL::text) RETURNS pg_lsn
    LANGUAGE sql
    SET search_path TO 'pg_catalog'
    AS $_$
    SELECT min(p.applied_lsn) FROM cutover.position p JOIN cutover.move m ON m.plan = p.plan AND m.move = p.move
     WHERE p.plan = $1 AND ($2 IS NULL OR p.move = $2) AND ($2 IS NOT NULL OR m.state NOT IN ('completed', 'left'))
$_$;


--
-- Name: partition_mark(oid[]); Type: FUNCTION; Schema: cutover; Owner: -
--

CREATE FUNCTION cutover.partition_mark(tables oid[]) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog'
    AS $_$
    WITH RECURSIVE below AS (
        SELECT i.inhrelid, i.xmin FROM pg_inherits i WHERE i.inhparent = ANY ($1)
        UNION ALL
        SELECT i.inhrelid, i.xmin FROM below JOIN pg_inherits i ON i.inhparent = below.inhrelid)
    SELECT coalesce(jsonb_object_agg(c.oid::text, jsonb_build_array(
               below.xmin::text, c.relfilenode::bigint, c.relkind::text, c.relispartition, c.relpersistence::text,
               c.relreplident::text, (SELECT i.indexrelid::bigint FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident))),
               '{}')
      FROM below JOIN pg_class c ON c.oid = below.inhrelid
$_$;


--
-- Name: publication_mark(text); Type: FUNCTION; Schema: cutover; Owner: -
--

CREATE FUNCTION cutover.publication_mark(name text) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog'
    AS $_$
    SELECT jsonb_build_object(
               'options', concat_ws(' ', p.oid, p.xmin, p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, p.pubviaroot),
               'tables', (SELECT coalesce(jsonb_object_agg(r.prrelid::text, concat_ws(' ', r.oid, r.prqual IS NOT NULL, r.prattrs::text)), '{}')
                            FROM pg_publication_rel r WHERE r.prpubid = p.oid))
      FROM pg_publication p WHERE p.pubname = $1
$_$;


--
-- Name: publication_stands(jsonb, text); Type: FUNCTION; Schema: cutover; Owner: -
--

CREATE FUNCTION cutover.publication_stands(mark jsonb, name text) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog'
    AS $$
    SELECT mark IS NULL OR coalesce(
               (SELECT found -> 'options' = mark -> 'options'
                       AND NOT EXISTS (SELECT FROM jsonb_each(mark -> 'tables') each
                                        WHERE found -> 'tables' -> each.key IS DISTINCT FROM each.value
                                          AND EXISTS (SELECT FROM pg_class c WHERE c.oid = each.key::oid))
                  FROM cutover.publication_mark(name) found), false)
$$;


--
-- Name: reads_consolidated(text, text); Type: FUNCTION; Schema: cutover; Owner: -
--

CREATE FUNCTION cutover.reads_consolidated(plan text, move text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL RESTRICTED
    SET search_path TO 'pg_catalog'
    AS $_$
    SELECT CASE nullif(current_setting('cutover.side', true), '')
           WHEN 'consolidated' THEN true
           WHEN 'legacy' THEN false
           ELSE (SELECT mod(abs(hashint4(pg_backend_pid())::bigint), 100) < m.percent
                   FROM cutover.move m WHERE m.plan = $1 AND m.move = $2)
           END
$_$;


--
-- Name: storage(text[]); Type: FUNCTION; Schema: cutover; Owner: -
--

CREATE FUNCTION cutover.storage(tables text[]) RETURNS jsonb
    LANGUAGE sql
    SET search_path TO 'pg_catalog'
    AS $_$
    WITH RECURSIVE part AS (
        SELECT name, to_regclass(name)::oid AS oid FROM unnest($1) name
         UNION
        SELECT part.name, child.inhrelid FROM part JOIN pg_inherits child ON child.inhparent = part.oid
    )
    SELECT coalesce(jsonb_object_agg(name, files), '{}')
      FROM (SELECT name, string_agg(concat_ws(':', oid, pg_relation_filenode(oid)), ' ' ORDER BY oid) AS files
              FROM part GROUP BY name) each
$_$;


--
-- Name: wait_for(pg_lsn, text, text, interval); Type: FUNCTION; Schema: cutover; Owner: -
--

CREATE FUNCTION cutover.wait_for(lsn pg_lsn, plan text DEFAULT NULL::text, move text DEFAULT NULL::text, timeout interval DEFAULT '00:00:10'::interval) RETURNS pg_lsn
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog'
    AS $_$
DECLARE
    deadline timestamptz := clock_timestamp() + timeout;
    reached  pg_lsn;
    asked    boolean := false;
BEGIN
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION 'cutover.wait_for cannot see progress in a % transaction', current_setting('transaction_isolation')
            USING HINT = 'Call it in READ COMMITTED, or before the transaction begins.';
    END IF;
    LOOP
        SELECT min(p.applied_lsn) INTO reached
          FROM cutover.position p JOIN cutover.move m ON m.plan = p.plan AND m.move = p.move
         WHERE (wait_for.plan IS NULL OR p.plan = wait_for.plan) AND (wait_for.move IS NULL OR p.move = wait_for.move)
           AND (wait_for.move IS NOT NULL OR m.state NOT IN ('completed', 'left'));
        IF reached IS NULL THEN
            RAISE EXCEPTION 'cutover.wait_for: no such plan or move: % %', wait_for.plan, wait_for.move;
        END IF;
        IF reached >= lsn THEN
            RETURN reached;
        END IF;
        IF NOT asked THEN  -- capture answers this with a watermark to every partition
            IF current_setting('server_version_num')::int >= 170000 THEN
                EXECUTE $m$SELECT pg_logical_emit_message(false, 'cutover', 'watermark', true)$m$;
            ELSE  -- the WAL writer flushes it within wal_writer_delay, or the next commit does
                PERFORM pg_logical_emit_message(false, 'cutover', 'watermark');
            END IF;
            asked := true;
        END IF;
        IF clock_timestamp() > deadline THEN
            RAISE EXCEPTION 'cutover.wait_for: % is applied, % was asked for, after %', reached, lsn, timeout
                USING HINT = 'Is a consumer running? cutover status shows it.';
        END IF;
        PERFORM pg_sleep(0.002);
    END LOOP;
END
$_$;


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: Artikel; Type: TABLE; Schema: Lager; Owner: -
--

CREATE TABLE "Lager"."Artikel" (
    mandant text NOT NULL,
    "Nr" text NOT NULL,
    "Bezeichnung" text NOT NULL
);


--
-- Name: Bestand; Type: TABLE; Schema: Lager; Owner: -
--

CREATE TABLE "Lager"."Bestand" (
    id bigint NOT NULL,
    mandant text NOT NULL,
    "ArtikelNr" text NOT NULL,
    "Lagerort" text NOT NULL,
    "Menge" integer NOT NULL,
    "Zählung" date
);


--
-- Name: Bestand_id_seq; Type: SEQUENCE; Schema: Lager; Owner: -
--

ALTER TABLE "Lager"."Bestand" ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME "Lager"."Bestand_id_seq"
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: Preis; Type: TABLE; Schema: Lager; Owner: -
--

CREATE TABLE "Lager"."Preis" (
    mandant text NOT NULL,
    "ArtikelNr" text NOT NULL,
    "Währung" character varying(3) NOT NULL,
    "Betrag" numeric(12,2) NOT NULL
);


--
-- Name: product; Type: TABLE; Schema: Lager; Owner: -
--

CREATE TABLE "Lager".product (
    tenant text NOT NULL,
    sku text NOT NULL,
    title text NOT NULL,
    price numeric(12,2),
    currency character varying(3),
    quantity bigint NOT NULL,
    places text
);


--
-- Name: map_lager_product; Type: VIEW; Schema: cutover; Owner: -
--

CREATE VIEW cutover.map_lager_product AS
 SELECT a.mandant AS tenant,
    a."Nr" AS sku,
    a."Bezeichnung" AS title,
    p."Betrag" AS price,
    p."Währung" AS currency,
    COALESCE(b.quantity, (0)::bigint) AS quantity,
    b.places
   FROM (("Lager"."Artikel" a
     LEFT JOIN "Lager"."Preis" p ON (((p.mandant = a.mandant) AND (p."ArtikelNr" = a."Nr"))))
     LEFT JOIN ( SELECT "Bestand".mandant,
            "Bestand"."ArtikelNr",
            sum("Bestand"."Menge") AS quantity,
            string_agg("Bestand"."Lagerort", ', '::text ORDER BY "Bestand"."Lagerort") AS places
           FROM "Lager"."Bestand"
          GROUP BY "Bestand".mandant, "Bestand"."ArtikelNr") b ON (((b.mandant = a.mandant) AND (b."ArtikelNr" = a."Nr"))));


--
-- Name: VIEW map_lager_product; Type: COMMENT; Schema: cutover; Owner: -
--

COMMENT ON VIEW cutover.map_lager_product IS 'cutover: mapping of lager.product, 6c0e68556f7b29e1';


--
-- Name: product_current; Type: VIEW; Schema: Lager; Owner: -
--

CREATE VIEW "Lager".product_current AS
 SELECT mapping.tenant,
    mapping.sku,
    mapping.title,
    mapping.price,
    mapping.currency,
    mapping.quantity,
    mapping.places
   FROM cutover.map_lager_product mapping;


--
-- Name: VIEW product_current; Type: COMMENT; Schema: Lager; Owner: -
--

COMMENT ON VIEW "Lager".product_current IS 'cutover: facade of lager.product, 91ae006324862950';


--
-- Name: accepted; Type: TABLE; Schema: cutover; Owner: -
--

CREATE TABLE cutover.accepted (
    plan text NOT NULL,
    move text NOT NULL,
    key text[] NOT NULL,
    decision text NOT NULL,
    legacy bytea NOT NULL,
    consolidated bytea NOT NULL,
    review bigint NOT NULL,
    who text DEFAULT SESSION_USER NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT accepted_decision_check CHECK ((decision = ANY (ARRAY['legacy'::text, 'consolidated'::text])))
);


--
-- Name: backfill; Type: TABLE; Schema: cutover; Owner: -
--

CREATE TABLE cutover.backfill (
    plan text NOT NULL,
    move text NOT NULL,
    cursor text[],
    done bigint DEFAULT 0 NOT NULL,
    total bigint DEFAULT 0 NOT NULL,
    offsets bigint[],
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone,
    unasked boolean DEFAULT false NOT NULL
);


--
-- Name: dead_letter; Type: TABLE; Schema: cutover; Owner: -
--

CREATE TABLE cutover.dead_letter (
    id bigint NOT NULL,
    plan text NOT NULL,
    move text NOT NULL,
    key text[] NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    sqlstate text NOT NULL,
    message text NOT NULL,
    "column" text,
    attempts integer DEFAULT 1 NOT NULL,
    first_seen timestamp with time zone DEFAULT now() NOT NULL,
    last_seen timestamp with time zone DEFAULT now() NOT NULL,
    state text DEFAULT 'open'::text NOT NULL,
    reason text,
    CONSTRAINT dead_letter_state_check CHECK ((state = ANY (ARRAY['open'::text, 'resolved'::text, 'discarded'::text])))
);


--
-- Name: dead_letter_id_seq; Type: SEQUENCE; Schema: cutover; Owner: -
--

ALTER TABLE cutover.dead_letter ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME cutover.dead_letter_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: difference; Type: TABLE; Schema: cutover; Owner: -
--

CREATE TABLE cutover.difference (
    id bigint NOT NULL,
    plan text NOT NULL,
    move text NOT NULL,
    key text[] NOT NULL,
    kind text NOT NULL,
    verdict text NOT NULL,
    first_seen timestamp with time zone NOT NULL,
    last_seen timestamp with time zone NOT NULL,
    gone_at timestamp with time zone
);


--
-- Name: difference_id_seq; Type: SEQUENCE; Schema: cutover; Owner: -
--

ALTER TABLE cutover.difference ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME cutover.difference_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: event; Type: TABLE; Schema: cutover; Owner: -
--

CREATE TABLE cutover.event (
    id bigint NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    plan text NOT NULL,
    move text,
    what text NOT NULL,
    who text DEFAULT SESSION_USER NOT NULL,
    detail jsonb DEFAULT '{}'::jsonb NOT NULL
);


--
-- Name: event_id_seq; Type: SEQUENCE; Schema: cutover; Owner: -
--

ALTER TABLE cutover.event ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME cutover.event_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: move; Type: TABLE; Schema: cutover; Owner: -
--

CREATE TABLE cutover.move (
    plan text NOT NULL,
    move text NOT NULL,
    target text NOT NULL,
    facade text,
    topic text NOT NULL,
    topic_identity text,
    partitions integer NOT NULL,
    state text DEFAULT 'prepared'::text NOT NULL,
    side text DEFAULT 'legacy'::text NOT NULL,
    percent integer DEFAULT 0 NOT NULL,
    halted text,
    halted_lsn pg_lsn,
    healed_lsn pg_lsn,
    refreshed_until timestamp with time zone,
    refreshed_offsets bigint[],
    clock_low timestamp with time zone,
    clock_high timestamp with time zone,
    view_oid oid,
    touch_again text,
    partition_mark jsonb,
    CONSTRAINT move_partitions_check CHECK ((partitions > 0)),
    CONSTRAINT move_percent_check CHECK (((percent >= 0) AND (percent <= 100))),
    CONSTRAINT move_side_check CHECK ((side = ANY (ARRAY['legacy'::text, 'consolidated'::text])))
);


--
-- Name: plan; Type: TABLE; Schema: cutover; Owner: -
--

CREATE TABLE cutover.plan (
    plan text NOT NULL,
    digest text NOT NULL,
    log text NOT NULL,
    log_identity text,
    slot text NOT NULL,
    system_id text,
    consistent_point pg_lsn,
    confirmed_lsn pg_lsn,
    gap text,
    gap_since timestamp with time zone,
    prepared_at timestamp with time zone DEFAULT now() NOT NULL,
    healed integer DEFAULT 0 NOT NULL,
    publication_mark jsonb
);


--
-- Name: position; Type: TABLE; Schema: cutover; Owner: -
--

CREATE TABLE cutover."position" (
    id integer NOT NULL,
    plan text NOT NULL,
    move text NOT NULL,
    partition integer NOT NULL,
    "offset" bigint DEFAULT 0 NOT NULL,
    applied_lsn pg_lsn DEFAULT '0/0'::pg_lsn NOT NULL,
    applied_time timestamp with time zone,
    latency_ms double precision,
    worker text,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    clock_low timestamp with time zone,
    clock_high timestamp with time zone,
    applied_offset bigint DEFAULT 0 NOT NULL
)
WITH (fillfactor='50');


--
-- Name: position_id_seq; Type: SEQUENCE; Schema: cutover; Owner: -
--

ALTER TABLE cutover."position" ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME cutover.position_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: proof; Type: TABLE; Schema: cutover; Owner: -
--

CREATE TABLE cutover.proof (
    plan text NOT NULL,
    move text NOT NULL,
    verdict text,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    compared bigint,
    pass_started_at timestamp with time zone,
    pass_at timestamp with time zone,
    pass_keys bigint,
    pass_total bigint,
    digest text,
    place jsonb,
    unlisted_drift bigint DEFAULT 0 NOT NULL,
    unlisted_unproven bigint DEFAULT 0 NOT NULL
);


--
-- Name: reconcile_run; Type: TABLE; Schema: cutover; Owner: -
--

CREATE TABLE cutover.reconcile_run (
    id bigint NOT NULL,
    plan text NOT NULL,
    move text NOT NULL,
    digest text NOT NULL,
    verdict text NOT NULL,
    snapshot_lsn pg_lsn,
    applied_lsn pg_lsn,
    exact boolean DEFAULT true NOT NULL,
    document jsonb NOT NULL,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone DEFAULT now() NOT NULL,
    storage jsonb,
    CONSTRAINT reconcile_run_verdict_check CHECK ((verdict = ANY (ARRAY['match'::text, 'lag'::text, 'drift'::text, 'unresolved'::text])))
);


--
-- Name: reconcile_run_id_seq; Type: SEQUENCE; Schema: cutover; Owner: -
--

ALTER TABLE cutover.reconcile_run ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME cutover.reconcile_run_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: replay; Type: TABLE; Schema: cutover; Owner: -
--

CREATE TABLE cutover.replay (
    id bigint NOT NULL,
    plan text NOT NULL,
    move text NOT NULL,
    spec text NOT NULL,
    partitions integer[] NOT NULL,
    starts bigint[] NOT NULL,
    ends bigint[] NOT NULL,
    at bigint[] NOT NULL,
    records bigint DEFAULT 0 NOT NULL,
    keys bigint DEFAULT 0 NOT NULL,
    changed bigint DEFAULT 0 NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone
);


--
-- Name: replay_id_seq; Type: SEQUENCE; Schema: cutover; Owner: -
--

ALTER TABLE cutover.replay ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME cutover.replay_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: review; Type: TABLE; Schema: cutover; Owner: -
--

CREATE TABLE cutover.review (
    id bigint NOT NULL,
    plan text NOT NULL,
    move text NOT NULL,
    nonce text NOT NULL,
    keys bigint NOT NULL,
    who text DEFAULT SESSION_USER NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: review_id_seq; Type: SEQUENCE; Schema: cutover; Owner: -
--

ALTER TABLE cutover.review ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME cutover.review_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: schema_version; Type: TABLE; Schema: cutover; Owner: -
--

CREATE TABLE cutover.schema_version (
    version integer NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Data for Name: Artikel; Type: TABLE DATA; Schema: Lager; Owner: -
--

INSERT INTO "Lager"."Artikel" VALUES
	('nord', 'A-1', 'Artikel 1'),
	('nord', 'A-2', 'Artikel 2'),
	('nord', 'A-4', 'Artikel 4'),
	('nord', 'A-5', 'Artikel 5'),
	('nord', 'A-6', 'Artikel 6'),
	('nord', 'A-7', 'Artikel 7'),
	('nord', 'A-8', 'Artikel 8'),
	('nord', 'A-9', 'Artikel 9'),
	('nord', 'A-10', 'Artikel 10'),
	('nord', 'A-11', 'Artikel 11'),
	('nord', 'A-12', 'Artikel 12'),
	('nord', 'A-13', 'Artikel 13'),
	('nord', 'A-14', 'Artikel 14'),
	('nord', 'A-15', 'Artikel 15'),
	('nord', 'A-16', 'Artikel 16'),
	('nord', 'A-17', 'Artikel 17'),
	('nord', 'A-18', 'Artikel 18'),
	('nord', 'A-19', 'Artikel 19'),
	('nord', 'A-20', 'Artikel 20'),
	('nord', 'A-21', 'Artikel 21'),
	('nord', 'A-22', 'Artikel 22'),
	('nord', 'A-23', 'Artikel 23'),
	('nord', 'A-24', 'Artikel 24'),
	('nord', 'A-25', 'Artikel 25'),
	('nord', 'A-26', 'Artikel 26'),
	('nord', 'A-27', 'Artikel 27'),
	('nord', 'A-28', 'Artikel 28'),
	('nord', 'A-29', 'Artikel 29'),
	('nord', 'A-40', 'Artikel 40'),
	('nord', 'A-41', 'Artikel 41'),
	('nord', 'A-42', 'Artikel 42'),
	('nord', 'A-43', 'Artikel 43'),
	('nord', 'A-44', 'Artikel 44'),
	('nord', 'A-45', 'Artikel 45'),
	('nord', 'A-46', 'Artikel 46'),
	('nord', 'A-47', 'Artikel 47'),
	('nord', 'A-48', 'Artikel 48'),
	('nord', 'A-49', 'Artikel 49'),
	('nord', 'A-50', 'Artikel 50'),
	('nord', 'A-51', 'Artikel 51'),
	('nord', 'A-52', 'Artikel 52'),
	('nord', 'A-53', 'Artikel 53'),
	('nord', 'A-54', 'Artikel 54'),
	('nord', 'A-55', 'Artikel 55'),
	('nord', 'A-56', 'Artikel 56'),
	('nord', 'A-57', 'Artikel 57'),
	('nord', 'A-58', 'Artikel 58'),
	('nord', 'A-59', 'Artikel 59'),
	('nord', 'A-60', 'Artikel 60'),
	('nord', 'A-61', 'Artikel 61'),
	('nord', 'A-62', 'Artikel 62'),
	('nord', 'A-63', 'Artikel 63'),
	('nord', 'A-64', 'Artikel 64'),
	('nord', 'A-65', 'Artikel 65'),
	('nord', 'A-66', 'Artikel 66'),
	('nord', 'A-67', 'Artikel 67'),
	('nord', 'A-68', 'Artikel 68'),
	('nord', 'A-69', 'Artikel 69'),
	('nord', 'A-70', 'Artikel 70'),
	('nord', 'A-71', 'Artikel 71'),
	('nord', 'A-72', 'Artikel 72'),
	('nord', 'A-73', 'Artikel 73'),
	('nord', 'A-74', 'Artikel 74'),
	('nord', 'A-75', 'Artikel 75'),
	('nord', 'A-76', 'Artikel 76'),
	('nord', 'A-77', 'Artikel 77'),
	('nord', 'A-78', 'Artikel 78'),
	('nord', 'A-79', 'Artikel 79'),
	('nord', 'A-80', 'Artikel 80'),
	('nord', 'A-81', 'Artikel 81'),
	('nord', 'A-82', 'Artikel 82'),
	('nord', 'A-83', 'Artikel 83'),
	('nord', 'A-84', 'Artikel 84'),
	('nord', 'A-85', 'Artikel 85'),
	('nord', 'A-86', 'Artikel 86'),
	('nord', 'A-87', 'Artikel 87'),
	('nord', 'A-88', 'Artikel 88'),
	('nord', 'A-89', 'Artikel 89'),
	('nord', 'A-90', 'Artikel 90'),
	('nord', 'A-91', 'Artikel 91'),
	('nord', 'A-92', 'Artikel 92'),
	('nord', 'A-93', 'Artikel 93'),
	('nord', 'A-94', 'Artikel 94'),
	('nord', 'A-95', 'Artikel 95'),
	('nord', 'A-96', 'Artikel 96'),
	('nord', 'A-97', 'Artikel 97'),
	('nord', 'A-98', 'Artikel 98'),
	('nord', 'A-99', 'Artikel 99'),
	('süd', 'B-1', 'neu'),
	('süd', 'B-2', 'neu'),
	('süd', 'B-3', 'neu'),
	('süd', 'B-4', 'neu'),
	('süd', 'B-5', 'neu'),
	('süd', 'B-6', 'neu'),
	('süd', 'B-7', 'neu'),
	('süd', 'B-8', 'neu'),
	('süd', 'B-9', 'neu'),
	('süd', 'B-10', 'neu'),
	('süd', 'B-11', 'neu'),
	('süd', 'B-12', 'neu'),
	('süd', 'B-13', 'neu'),
	('süd', 'B-14', 'neu'),
	('süd', 'B-15', 'neu'),
	('süd', 'B-16', 'neu'),
	('süd', 'B-17', 'neu'),
	('süd', 'B-18', 'neu'),
	('süd', 'B-19', 'neu'),
	('süd', 'B-20', 'neu'),
	('süd', 'B-21', 'neu'),
	('süd', 'B-22', 'neu'),
	('süd', 'B-23', 'neu'),
	('süd', 'B-24', 'neu'),
	('süd', 'B-25', 'neu'),
	('süd', 'B-26', 'neu'),
	('süd', 'B-27', 'neu'),
	('süd', 'B-28', 'neu'),
	('süd', 'B-29', 'neu'),
	('süd', 'B-30', 'neu'),
	('süd', 'B-31', 'neu'),
	('süd', 'B-32', 'neu'),
	('süd', 'B-33', 'neu'),
	('süd', 'B-34', 'neu'),
	('süd', 'B-35', 'neu'),
	('süd', 'B-36', 'neu'),
	('süd', 'B-37', 'neu'),
	('süd', 'B-38', 'neu'),
	('süd', 'B-39', 'neu'),
	('süd', 'B-40', 'neu'),
	('süd', 'B-41', 'neu'),
	('süd', 'B-42', 'neu'),
	('süd', 'B-43', 'neu'),
	('süd', 'B-44', 'neu'),
	('süd', 'B-45', 'neu'),
	('süd', 'B-46', 'neu'),
	('süd', 'B-47', 'neu'),
	('süd', 'B-48', 'neu'),
	('süd', 'B-49', 'neu'),
	('süd', 'B-50', 'neu');


--
-- Data for Name: Bestand; Type: TABLE DATA; Schema: Lager; Owner: -
--

INSERT INTO "Lager"."Bestand" OVERRIDING SYSTEM VALUE VALUES
	(1, 'nord', 'A-2', 'Halle 1', 2, NULL),
	(2, 'nord', 'A-2', 'Halle 2', 2, NULL),
	(3, 'nord', 'A-4', 'Halle 1', 4, NULL),
	(4, 'nord', 'A-4', 'Halle 2', 4, NULL),
	(5, 'nord', 'A-6', 'Halle 1', 6, NULL),
	(6, 'nord', 'A-6', 'Halle 2', 6, NULL),
	(7, 'nord', 'A-8', 'Halle 1', 8, NULL),
	(8, 'nord', 'A-8', 'Halle 2', 8, NULL),
	(9, 'nord', 'A-10', 'Halle 1', 10, NULL),
	(10, 'nord', 'A-10', 'Halle 2', 10, NULL),
	(11, 'nord', 'A-12', 'Halle 1', 12, NULL),
	(12, 'nord', 'A-12', 'Halle 2', 12, NULL),
	(13, 'nord', 'A-14', 'Halle 1', 14, NULL),
	(14, 'nord', 'A-14', 'Halle 2', 14, NULL),
	(15, 'nord', 'A-16', 'Halle 1', 16, NULL),
	(16, 'nord', 'A-16', 'Halle 2', 16, NULL),
	(17, 'nord', 'A-18', 'Halle 1', 1, NULL),
	(18, 'nord', 'A-18', 'Halle 2', 1, NULL),
	(19, 'nord', 'A-20', 'Halle 1', 3, NULL),
	(20, 'nord', 'A-20', 'Halle 2', 3, NULL),
	(21, 'nord', 'A-22', 'Halle 1', 5, NULL),
	(22, 'nord', 'A-22', 'Halle 2', 5, NULL),
	(23, 'nord', 'A-24', 'Halle 1', 7, NULL),
	(24, 'nord', 'A-24', 'Halle 2', 7, NULL),
	(25, 'nord', 'A-26', 'Halle 1', 9, NULL),
	(26, 'nord', 'A-26', 'Halle 2', 9, NULL),
	(27, 'nord', 'A-28', 'Halle 1', 11, NULL),
	(28, 'nord', 'A-28', 'Halle 2', 11, NULL),
	(39, 'nord', 'A-40', 'Halle 1', 6, NULL),
	(40, 'nord', 'A-40', 'Halle 2', 6, NULL),
	(41, 'nord', 'A-42', 'Halle 1', 8, NULL),
	(42, 'nord', 'A-42', 'Halle 2', 8, NULL),
	(43, 'nord', 'A-44', 'Halle 1', 10, NULL),
	(44, 'nord', 'A-44', 'Halle 2', 10, NULL),
	(45, 'nord', 'A-46', 'Halle 1', 12, NULL),
	(46, 'nord', 'A-46', 'Halle 2', 12, NULL),
	(47, 'nord', 'A-48', 'Halle 1', 14, NULL),
	(48, 'nord', 'A-48', 'Halle 2', 14, NULL),
	(49, 'nord', 'A-50', 'Halle 1', 16, NULL),
	(50, 'nord', 'A-50', 'Halle 2', 16, NULL),
	(51, 'nord', 'A-52', 'Halle 1', 1, NULL),
	(52, 'nord', 'A-52', 'Halle 2', 1, NULL),
	(53, 'nord', 'A-54', 'Halle 1', 3, NULL),
	(54, 'nord', 'A-54', 'Halle 2', 3, NULL),
	(55, 'nord', 'A-56', 'Halle 1', 5, NULL),
	(56, 'nord', 'A-56', 'Halle 2', 5, NULL),
	(57, 'nord', 'A-58', 'Halle 1', 7, NULL),
	(58, 'nord', 'A-58', 'Halle 2', 7, NULL),
	(59, 'nord', 'A-60', 'Halle 1', 9, NULL),
	(60, 'nord', 'A-60', 'Halle 2', 9, NULL),
	(61, 'nord', 'A-62', 'Halle 1', 11, NULL),
	(62, 'nord', 'A-62', 'Halle 2', 11, NULL),
	(63, 'nord', 'A-64', 'Halle 1', 13, NULL),
	(64, 'nord', 'A-64', 'Halle 2', 13, NULL),
	(65, 'nord', 'A-66', 'Halle 1', 15, NULL),
	(66, 'nord', 'A-66', 'Halle 2', 15, NULL),
	(67, 'nord', 'A-68', 'Halle 1', 0, NULL),
	(68, 'nord', 'A-68', 'Halle 2', 0, NULL),
	(69, 'nord', 'A-70', 'Halle 1', 2, NULL),
	(70, 'nord', 'A-70', 'Halle 2', 2, NULL),
	(71, 'nord', 'A-72', 'Halle 1', 4, NULL),
	(72, 'nord', 'A-72', 'Halle 2', 4, NULL),
	(73, 'nord', 'A-74', 'Halle 1', 6, NULL),
	(74, 'nord', 'A-74', 'Halle 2', 6, NULL),
	(75, 'nord', 'A-76', 'Halle 1', 8, NULL),
	(76, 'nord', 'A-76', 'Halle 2', 8, NULL),
	(77, 'nord', 'A-78', 'Halle 1', 10, NULL),
	(78, 'nord', 'A-78', 'Halle 2', 10, NULL),
	(79, 'nord', 'A-80', 'Halle 1', 12, NULL),
	(80, 'nord', 'A-80', 'Halle 2', 12, NULL),
	(81, 'nord', 'A-82', 'Halle 1', 14, NULL),
	(82, 'nord', 'A-82', 'Halle 2', 14, NULL),
	(83, 'nord', 'A-84', 'Halle 1', 16, NULL),
	(84, 'nord', 'A-84', 'Halle 2', 16, NULL),
	(85, 'nord', 'A-86', 'Halle 1', 1, NULL),
	(86, 'nord', 'A-86', 'Halle 2', 1, NULL),
	(87, 'nord', 'A-88', 'Halle 1', 3, NULL),
	(88, 'nord', 'A-88', 'Halle 2', 3, NULL),
	(89, 'nord', 'A-90', 'Halle 1', 5, NULL),
	(90, 'nord', 'A-90', 'Halle 2', 5, NULL),
	(91, 'nord', 'A-92', 'Halle 1', 7, NULL),
	(92, 'nord', 'A-92', 'Halle 2', 7, NULL),
	(93, 'nord', 'A-94', 'Halle 1', 9, NULL),
	(94, 'nord', 'A-94', 'Halle 2', 9, NULL),
	(95, 'nord', 'A-96', 'Halle 1', 11, NULL),
	(96, 'nord', 'A-96', 'Halle 2', 11, NULL),
	(97, 'nord', 'A-98', 'Halle 1', 13, NULL),
	(98, 'nord', 'A-98', 'Halle 2', 13, NULL);


--
-- Data for Name: Preis; Type: TABLE DATA; Schema: Lager; Owner: -
--

INSERT INTO "Lager"."Preis" VALUES
	('nord', 'A-1', 'EUR', 1.25),
	('nord', 'A-4', 'EUR', 5.00),
	('nord', 'A-5', 'EUR', 6.25),
	('nord', 'A-6', 'CHF', 7.50),
	('nord', 'A-7', 'EUR', 8.75),
	('nord', 'A-8', 'EUR', 10.00),
	('nord', 'A-9', 'CHF', 11.25),
	('nord', 'A-10', 'EUR', 12.50),
	('nord', 'A-11', 'EUR', 13.75),
	('nord', 'A-12', 'CHF', 15.00),
	('nord', 'A-13', 'EUR', 16.25),
	('nord', 'A-14', 'EUR', 17.50),
	('nord', 'A-15', 'CHF', 18.75),
	('nord', 'A-16', 'EUR', 20.00),
	('nord', 'A-17', 'EUR', 21.25),
	('nord', 'A-18', 'CHF', 22.50),
	('nord', 'A-19', 'EUR', 23.75),
	('nord', 'A-40', 'EUR', 50.00),
	('nord', 'A-41', 'EUR', 51.25),
	('nord', 'A-42', 'CHF', 52.50),
	('nord', 'A-43', 'EUR', 53.75),
	('nord', 'A-44', 'EUR', 55.00),
	('nord', 'A-45', 'CHF', 56.25),
	('nord', 'A-46', 'EUR', 57.50),
	('nord', 'A-47', 'EUR', 58.75),
	('nord', 'A-48', 'CHF', 60.00),
	('nord', 'A-49', 'EUR', 61.25),
	('nord', 'A-50', 'EUR', 62.50),
	('nord', 'A-51', 'CHF', 63.75),
	('nord', 'A-52', 'EUR', 65.00),
	('nord', 'A-53', 'EUR', 66.25),
	('nord', 'A-54', 'CHF', 67.50),
	('nord', 'A-55', 'EUR', 68.75),
	('nord', 'A-56', 'EUR', 70.00),
	('nord', 'A-57', 'CHF', 71.25),
	('nord', 'A-58', 'EUR', 72.50),
	('nord', 'A-59', 'EUR', 73.75),
	('nord', 'A-60', 'CHF', 75.00),
	('nord', 'A-61', 'EUR', 76.25),
	('nord', 'A-62', 'EUR', 77.50),
	('nord', 'A-63', 'CHF', 78.75),
	('nord', 'A-64', 'EUR', 80.00),
	('nord', 'A-65', 'EUR', 81.25),
	('nord', 'A-66', 'CHF', 82.50),
	('nord', 'A-67', 'EUR', 83.75),
	('nord', 'A-68', 'EUR', 85.00),
	('nord', 'A-69', 'CHF', 86.25),
	('nord', 'A-70', 'EUR', 87.50),
	('nord', 'A-71', 'EUR', 88.75),
	('nord', 'A-72', 'CHF', 90.00),
	('nord', 'A-73', 'EUR', 91.25),
	('nord', 'A-74', 'EUR', 92.50),
	('nord', 'A-75', 'CHF', 93.75),
	('nord', 'A-76', 'EUR', 95.00),
	('nord', 'A-77', 'EUR', 96.25),
	('nord', 'A-78', 'CHF', 97.50),
	('nord', 'A-79', 'EUR', 98.75),
	('nord', 'A-80', 'EUR', 100.00),
	('nord', 'A-81', 'CHF', 101.25),
	('nord', 'A-82', 'EUR', 102.50),
	('nord', 'A-83', 'EUR', 103.75),
	('nord', 'A-84', 'CHF', 105.00),
	('nord', 'A-85', 'EUR', 106.25),
	('nord', 'A-86', 'EUR', 107.50),
	('nord', 'A-87', 'CHF', 108.75),
	('nord', 'A-88', 'EUR', 110.00),
	('nord', 'A-89', 'EUR', 111.25),
	('nord', 'A-90', 'CHF', 112.50),
	('nord', 'A-91', 'EUR', 113.75),
	('nord', 'A-92', 'EUR', 115.00),
	('nord', 'A-93', 'CHF', 116.25),
	('nord', 'A-94', 'EUR', 117.50),
	('nord', 'A-95', 'EUR', 118.75),
	('nord', 'A-96', 'CHF', 120.00),
	('nord', 'A-97', 'EUR', 121.25),
	('nord', 'A-98', 'EUR', 122.50),
	('nord', 'A-99', 'CHF', 123.75),
	('nord', 'A-2', 'EUR', 3.50),
	('nord', 'A-20', 'EUR', 26.00),
	('nord', 'A-21', 'CHF', 27.25),
	('nord', 'A-22', 'EUR', 28.50),
	('nord', 'A-23', 'EUR', 29.75),
	('nord', 'A-24', 'CHF', 31.00),
	('nord', 'A-25', 'EUR', 32.25),
	('nord', 'A-26', 'EUR', 33.50),
	('nord', 'A-27', 'CHF', 34.75),
	('nord', 'A-28', 'EUR', 36.00),
	('nord', 'A-29', 'EUR', 37.25);


--
-- Data for Name: product; Type: TABLE DATA; Schema: Lager; Owner: -
--

INSERT INTO "Lager".product VALUES
	('nord', 'A-1', 'Artikel 1', 1.25, 'EUR', 0, NULL),
	('nord', 'A-10', 'Artikel 10', 12.50, 'EUR', 20, 'Halle 1, Halle 2'),
	('nord', 'A-11', 'Artikel 11', 13.75, 'EUR', 0, NULL),
	('nord', 'A-12', 'Artikel 12', 15.00, 'CHF', 24, 'Halle 1, Halle 2'),
	('nord', 'A-13', 'Artikel 13', 16.25, 'EUR', 0, NULL),
	('nord', 'A-14', 'Artikel 14', 17.50, 'EUR', 28, 'Halle 1, Halle 2'),
	('nord', 'A-15', 'Artikel 15', 18.75, 'CHF', 0, NULL),
	('nord', 'A-16', 'Artikel 16', 20.00, 'EUR', 32, 'Halle 1, Halle 2'),
	('nord', 'A-17', 'Artikel 17', 21.25, 'EUR', 0, NULL),
	('nord', 'A-18', 'Artikel 18', 22.50, 'CHF', 2, 'Halle 1, Halle 2'),
	('nord', 'A-19', 'Artikel 19', 23.75, 'EUR', 0, NULL),
	('nord', 'A-2', 'Artikel 2', 2.50, 'EUR', 4, 'Halle 1, Halle 2'),
	('nord', 'A-20', 'Artikel 20', 25.00, 'EUR', 6, 'Halle 1, Halle 2'),
	('nord', 'A-21', 'Artikel 21', 26.25, 'CHF', 0, NULL),
	('nord', 'A-22', 'Artikel 22', 27.50, 'EUR', 10, 'Halle 1, Halle 2'),
	('nord', 'A-23', 'Artikel 23', 28.75, 'EUR', 0, NULL),
	('nord', 'A-24', 'Artikel 24', 30.00, 'CHF', 14, 'Halle 1, Halle 2'),
	('nord', 'A-25', 'Artikel 25', 31.25, 'EUR', 0, NULL),
	('nord', 'A-26', 'Artikel 26', 32.50, 'EUR', 18, 'Halle 1, Halle 2'),
	('nord', 'A-27', 'Artikel 27', 33.75, 'CHF', 0, NULL),
	('nord', 'A-28', 'Artikel 28', 35.00, 'EUR', 22, 'Halle 1, Halle 2'),
	('nord', 'A-29', 'Artikel 29', 36.25, 'EUR', 0, NULL),
	('nord', 'A-3', 'Artikel 3', 3.75, 'CHF', 0, NULL),
	('nord', 'A-30', 'Artikel 30', 37.50, 'CHF', 26, 'Halle 1, Halle 2'),
	('nord', 'A-31', 'Artikel 31', 38.75, 'EUR', 0, NULL),
	('nord', 'A-32', 'Artikel 32', 40.00, 'EUR', 30, 'Halle 1, Halle 2'),
	('nord', 'A-33', 'Artikel 33', 41.25, 'CHF', 0, NULL),
	('nord', 'A-34', 'Artikel 34', 42.50, 'EUR', 0, 'Halle 1, Halle 2'),
	('nord', 'A-35', 'Artikel 35', 43.75, 'EUR', 0, NULL),
	('nord', 'A-36', 'Artikel 36', 45.00, 'CHF', 4, 'Halle 1, Halle 2'),
	('nord', 'A-37', 'Artikel 37', 46.25, 'EUR', 0, NULL),
	('nord', 'A-38', 'Artikel 38', 47.50, 'EUR', 8, 'Halle 1, Halle 2'),
	('nord', 'A-39', 'Artikel 39', 48.75, 'CHF', 0, NULL),
	('nord', 'A-4', 'Artikel 4', 5.00, 'EUR', 8, 'Halle 1, Halle 2'),
	('nord', 'A-40', 'Artikel 40', 50.00, 'EUR', 12, 'Halle 1, Halle 2'),
	('nord', 'A-41', 'Artikel 41', 51.25, 'EUR', 0, NULL),
	('nord', 'A-42', 'Artikel 42', 52.50, 'CHF', 16, 'Halle 1, Halle 2'),
	('nord', 'A-43', 'Artikel 43', 53.75, 'EUR', 0, NULL),
	('nord', 'A-44', 'Artikel 44', 55.00, 'EUR', 20, 'Halle 1, Halle 2'),
	('nord', 'A-45', 'Artikel 45', 56.25, 'CHF', 0, NULL),
	('nord', 'A-46', 'Artikel 46', 57.50, 'EUR', 24, 'Halle 1, Halle 2'),
	('nord', 'A-47', 'Artikel 47', 58.75, 'EUR', 0, NULL),
	('nord', 'A-48', 'Artikel 48', 60.00, 'CHF', 28, 'Halle 1, Halle 2'),
	('nord', 'A-49', 'Artikel 49', 61.25, 'EUR', 0, NULL),
	('nord', 'A-5', 'Artikel 5', 6.25, 'EUR', 0, NULL),
	('nord', 'A-50', 'Artikel 50', 62.50, 'EUR', 32, 'Halle 1, Halle 2'),
	('nord', 'A-51', 'Artikel 51', 63.75, 'CHF', 0, NULL),
	('nord', 'A-52', 'Artikel 52', 65.00, 'EUR', 2, 'Halle 1, Halle 2'),
	('nord', 'A-53', 'Artikel 53', 66.25, 'EUR', 0, NULL),
	('nord', 'A-54', 'Artikel 54', 67.50, 'CHF', 6, 'Halle 1, Halle 2'),
	('nord', 'A-55', 'Artikel 55', 68.75, 'EUR', 0, NULL),
	('nord', 'A-56', 'Artikel 56', 70.00, 'EUR', 10, 'Halle 1, Halle 2'),
	('nord', 'A-57', 'Artikel 57', 71.25, 'CHF', 0, NULL),
	('nord', 'A-58', 'Artikel 58', 72.50, 'EUR', 14, 'Halle 1, Halle 2'),
	('nord', 'A-59', 'Artikel 59', 73.75, 'EUR', 0, NULL),
	('nord', 'A-6', 'Artikel 6', 7.50, 'CHF', 12, 'Halle 1, Halle 2'),
	('nord', 'A-60', 'Artikel 60', 75.00, 'CHF', 18, 'Halle 1, Halle 2'),
	('nord', 'A-61', 'Artikel 61', 76.25, 'EUR', 0, NULL),
	('nord', 'A-62', 'Artikel 62', 77.50, 'EUR', 22, 'Halle 1, Halle 2'),
	('nord', 'A-63', 'Artikel 63', 78.75, 'CHF', 0, NULL),
	('nord', 'A-64', 'Artikel 64', 80.00, 'EUR', 26, 'Halle 1, Halle 2'),
	('nord', 'A-65', 'Artikel 65', 81.25, 'EUR', 0, NULL),
	('nord', 'A-66', 'Artikel 66', 82.50, 'CHF', 30, 'Halle 1, Halle 2'),
	('nord', 'A-67', 'Artikel 67', 83.75, 'EUR', 0, NULL),
	('nord', 'A-68', 'Artikel 68', 85.00, 'EUR', 0, 'Halle 1, Halle 2'),
	('nord', 'A-69', 'Artikel 69', 86.25, 'CHF', 0, NULL),
	('nord', 'A-7', 'Artikel 7', 8.75, 'EUR', 0, NULL),
	('nord', 'A-70', 'Artikel 70', 87.50, 'EUR', 4, 'Halle 1, Halle 2'),
	('nord', 'A-71', 'Artikel 71', 88.75, 'EUR', 0, NULL),
	('nord', 'A-72', 'Artikel 72', 90.00, 'CHF', 8, 'Halle 1, Halle 2'),
	('nord', 'A-73', 'Artikel 73', 91.25, 'EUR', 0, NULL),
	('nord', 'A-74', 'Artikel 74', 92.50, 'EUR', 12, 'Halle 1, Halle 2'),
	('nord', 'A-75', 'Artikel 75', 93.75, 'CHF', 0, NULL),
	('nord', 'A-76', 'Artikel 76', 95.00, 'EUR', 16, 'Halle 1, Halle 2'),
	('nord', 'A-77', 'Artikel 77', 96.25, 'EUR', 0, NULL),
	('nord', 'A-78', 'Artikel 78', 97.50, 'CHF', 20, 'Halle 1, Halle 2'),
	('nord', 'A-79', 'Artikel 79', 98.75, 'EUR', 0, NULL),
	('nord', 'A-8', 'Artikel 8', 10.00, 'EUR', 16, 'Halle 1, Halle 2'),
	('nord', 'A-80', 'Artikel 80', 100.00, 'EUR', 24, 'Halle 1, Halle 2'),
	('nord', 'A-81', 'Artikel 81', 101.25, 'CHF', 0, NULL),
	('nord', 'A-82', 'Artikel 82', 102.50, 'EUR', 28, 'Halle 1, Halle 2'),
	('nord', 'A-83', 'Artikel 83', 103.75, 'EUR', 0, NULL),
	('nord', 'A-84', 'Artikel 84', 105.00, 'CHF', 32, 'Halle 1, Halle 2'),
	('nord', 'A-85', 'Artikel 85', 106.25, 'EUR', 0, NULL),
	('nord', 'A-86', 'Artikel 86', 107.50, 'EUR', 2, 'Halle 1, Halle 2'),
	('nord', 'A-87', 'Artikel 87', 108.75, 'CHF', 0, NULL),
	('nord', 'A-88', 'Artikel 88', 110.00, 'EUR', 6, 'Halle 1, Halle 2'),
	('nord', 'A-89', 'Artikel 89', 111.25, 'EUR', 0, NULL),
	('nord', 'A-9', 'Artikel 9', 11.25, 'CHF', 0, NULL),
	('nord', 'A-90', 'Artikel 90', 112.50, 'CHF', 10, 'Halle 1, Halle 2'),
	('nord', 'A-91', 'Artikel 91', 113.75, 'EUR', 0, NULL),
	('nord', 'A-92', 'Artikel 92', 115.00, 'EUR', 14, 'Halle 1, Halle 2'),
	('nord', 'A-93', 'Artikel 93', 116.25, 'CHF', 0, NULL),
	('nord', 'A-94', 'Artikel 94', 117.50, 'EUR', 18, 'Halle 1, Halle 2'),
	('nord', 'A-95', 'Artikel 95', 118.75, 'EUR', 0, NULL),
	('nord', 'A-96', 'Artikel 96', 120.00, 'CHF', 22, 'Halle 1, Halle 2'),
	('nord', 'A-97', 'Artikel 97', 121.25, 'EUR', 0, NULL),
	('nord', 'A-98', 'Artikel 98', 122.50, 'EUR', 26, 'Halle 1, Halle 2'),
	('nord', 'A-99', 'Artikel 99', 123.75, 'CHF', 0, NULL);


--
-- Data for Name: accepted; Type: TABLE DATA; Schema: cutover; Owner: -
--



--
-- Data for Name: backfill; Type: TABLE DATA; Schema: cutover; Owner: -
--

INSERT INTO cutover.backfill VALUES
	('lager', 'product', '{nord,A-99}', 99, 99, '{3,3,3,3}', '2026-11-28 03:00:02.823991+00', '2026-11-28 03:00:02.84705+00', false);


--
-- Data for Name: dead_letter; Type: TABLE DATA; Schema: cutover; Owner: -
--



--
-- Data for Name: difference; Type: TABLE DATA; Schema: cutover; Owner: -
--



--
-- Data for Name: event; Type: TABLE DATA; Schema: cutover; Owner: -
--

INSERT INTO cutover.event OVERRIDING SYSTEM VALUE VALUES
	(1, '2026-11-28 02:59:58.223819+00', 'lager', 'product', 'source-added', 'postgres', '{}'),
	(2, '2026-11-28 02:59:58.237788+00', 'lager', 'product', 'source-added', 'postgres', '{}'),
	(3, '2026-11-28 02:59:58.251683+00', 'lager', 'product', 'source-added', 'postgres', '{}'),
	(4, '2026-11-28 02:59:58.278672+00', 'lager', 'product', 'source-added', 'postgres', '{}'),
	(5, '2026-11-28 02:59:58.279198+00', 'lager', 'product', 'target-created', 'postgres', '{}'),
	(6, '2026-11-28 02:59:58.284955+00', 'lager', NULL, 'prepare', 'postgres', '{"moves": ["product"], "steps": ["CREATE TABLE \"Lager\".product ( tenant text NOT NULL, sku text NOT NULL, title text NOT NULL, price numeric(12,2), currency varchar(3), quantity bigint NOT NULL, places text, PRIMARY KEY (tenant, sku) )", "CREATE UNIQUE INDEX CONCURRENTLY \"Bestand_cutover_identity\" ON \"Lager\".\"Bestand\" (mandant, \"ArtikelNr\", id)", "ALTER TABLE \"Lager\".\"Bestand\" REPLICA IDENTITY USING INDEX \"Bestand_cutover_identity\"", "view cutover.map_lager_product", "view \"Lager\".product_current", "publish \"Lager\".\"Artikel\"", "publish \"Lager\".\"Preis\"", "publish \"Lager\".\"Bestand\"", "slot cutover_lager"]}');


--
-- Data for Name: move; Type: TABLE DATA; Schema: cutover; Owner: -
--

INSERT INTO cutover.move VALUES
	('lager', 'product', '"Lager".product', '"Lager".product_current', 'cutover.lager.product', '1004f91a-8ae7-4804-ac22-50ba0d515d29', 4, 'prepared', 'legacy', 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 16908, NULL, '{}');


--
-- Data for Name: plan; Type: TABLE DATA; Schema: cutover; Owner: -
--

INSERT INTO cutover.plan VALUES
	('lager', '57a83b0e118ef1b92fd8f3828734558fa6d0d410cfaaf662bb9d31645ceb7e2f', 'sqlite:///log.db', '6dd0b948-84c5-4ddb-adc3-cf583ed2e763', 'cutover_lager', '7713051698288828768', '0/1AEBD08', '0/1BBBDB8', NULL, NULL, '2026-11-28 02:59:58.275182+00', 0, '{"tables": {"16386": "16918 f 1 2 3", "16393": "16919 f 1 2 3 4", "16406": "16920 f 1 2 3 4 5"}, "options": "16917 793 t t t t t"}');


--
-- Data for Name: position; Type: TABLE DATA; Schema: cutover; Owner: -
--

INSERT INTO cutover."position" OVERRIDING SYSTEM VALUE VALUES
	(1, 'lager', 'product', 0, 4, '0/1B97780', '2026-11-28 03:00:02.849417+00', NULL, 'somewhere:1', '2026-11-28 03:00:02.854731+00', '2026-11-28 03:00:01.862744+00', '2026-11-28 03:00:02.854731+00', 4),
	(2, 'lager', 'product', 1, 4, '0/1B97780', '2026-11-28 03:00:02.849463+00', NULL, 'somewhere:1', '2026-11-28 03:00:02.854731+00', '2026-11-28 03:00:01.862744+00', '2026-11-28 03:00:02.854731+00', 4),
	(3, 'lager', 'product', 2, 4, '0/1B97780', '2026-11-28 03:00:02.84947+00', NULL, 'somewhere:1', '2026-11-28 03:00:02.854731+00', '2026-11-28 03:00:01.862744+00', '2026-11-28 03:00:02.854731+00', 4),
	(4, 'lager', 'product', 3, 4, '0/1B97780', '2026-11-28 03:00:02.849479+00', NULL, 'somewhere:1', '2026-11-28 03:00:02.854731+00', '2026-11-28 03:00:01.862744+00', '2026-11-28 03:00:02.854731+00', 4);


--
-- Data for Name: proof; Type: TABLE DATA; Schema: cutover; Owner: -
--



--
-- Data for Name: reconcile_run; Type: TABLE DATA; Schema: cutover; Owner: -
--



--
-- Data for Name: replay; Type: TABLE DATA; Schema: cutover; Owner: -
--



--
-- Data for Name: review; Type: TABLE DATA; Schema: cutover; Owner: -
--



--
-- Data for Name: schema_version; Type: TABLE DATA; Schema: cutover; Owner: -
--

INSERT INTO cutover.schema_version VALUES
	(1, '2026-11-28 02:59:57.947204+00'),
	(2, '2026-11-28 02:59:57.947204+00'),
	(3, '2026-11-28 02:59:57.947204+00'),
	(4, '2026-11-28 02:59:57.947204+00'),
	(5, '2026-11-28 02:59:57.947204+00'),
	(6, '2026-11-28 02:59:57.947204+00'),
	(7, '2026-11-28 02:59:57.947204+00'),
	(8, '2026-11-28 02:59:57.947204+00'),
	(9, '2026-11-28 02:59:57.947204+00'),
	(10, '2026-11-28 02:59:57.947204+00');


--
-- Name: Bestand_id_seq; Type: SEQUENCE SET; Schema: Lager; Owner: -
--

SELECT pg_catalog.setval('"Lager"."Bestand_id_seq"', 1000, true);


--
-- Name: dead_letter_id_seq; Type: SEQUENCE SET; Schema: cutover; Owner: -
--

SELECT pg_catalog.setval('cutover.dead_letter_id_seq', 1, false);


--
-- Name: difference_id_seq; Type: SEQUENCE SET; Schema: cutover; Owner: -
--

SELECT pg_catalog.setval('cutover.difference_id_seq', 1, false);


--
-- Name: event_id_seq; Type: SEQUENCE SET; Schema: cutover; Owner: -
--

SELECT pg_catalog.setval('cutover.event_id_seq', 6, true);


--
-- Name: position_id_seq; Type: SEQUENCE SET; Schema: cutover; Owner: -
--

SELECT pg_catalog.setval('cutover.position_id_seq', 4, true);


--
-- Name: reconcile_run_id_seq; Type: SEQUENCE SET; Schema: cutover; Owner: -
--

SELECT pg_catalog.setval('cutover.reconcile_run_id_seq', 1, false);


--
-- Name: replay_id_seq; Type: SEQUENCE SET; Schema: cutover; Owner: -
--

SELECT pg_catalog.setval('cutover.replay_id_seq', 1, false);


--
-- Name: review_id_seq; Type: SEQUENCE SET; Schema: cutover; Owner: -
--

SELECT pg_catalog.setval('cutover.review_id_seq', 1, false);


--
-- Name: Artikel Artikel_pkey; Type: CONSTRAINT; Schema: Lager; Owner: -
--

ALTER TABLE ONLY "Lager"."Artikel"
    ADD CONSTRAINT "Artikel_pkey" PRIMARY KEY (mandant, "Nr");


--
-- Name: Bestand Bestand_pkey; Type: CONSTRAINT; Schema: Lager; Owner: -
--

ALTER TABLE ONLY "Lager"."Bestand"
    ADD CONSTRAINT "Bestand_pkey" PRIMARY KEY (id);


--
-- Name: Preis Preis_pkey; Type: CONSTRAINT; Schema: Lager; Owner: -
--

ALTER TABLE ONLY "Lager"."Preis"
    ADD CONSTRAINT "Preis_pkey" PRIMARY KEY (mandant, "ArtikelNr");


--
-- Name: product product_pkey; Type: CONSTRAINT; Schema: Lager; Owner: -
--

ALTER TABLE ONLY "Lager".product
    ADD CONSTRAINT product_pkey PRIMARY KEY (tenant, sku);


--
-- Name: accepted accepted_pkey; Type: CONSTRAINT; Schema: cutover; Owner: -
--

ALTER TABLE ONLY cutover.accepted
    ADD CONSTRAINT accepted_pkey PRIMARY KEY (plan, move, key);


--
-- Name: backfill backfill_pkey; Type: CONSTRAINT; Schema: cutover; Owner: -
--

ALTER TABLE ONLY cutover.backfill
    ADD CONSTRAINT backfill_pkey PRIMARY KEY (plan, move);


--
-- Name: dead_letter dead_letter_pkey; Type: CONSTRAINT; Schema: cutover; Owner: -
--

ALTER TABLE ONLY cutover.dead_letter
    ADD CONSTRAINT dead_letter_pkey PRIMARY KEY (id);


--
-- Name: difference difference_pkey; Type: CONSTRAINT; Schema: cutover; Owner: -
--

ALTER TABLE ONLY cutover.difference
    ADD CONSTRAINT difference_pkey PRIMARY KEY (id);


--
-- Name: event event_pkey; Type: CONSTRAINT; Schema: cutover; Owner: -
--

ALTER TABLE ONLY cutover.event
    ADD CONSTRAINT event_pkey PRIMARY KEY (id);


--
-- Name: move move_pkey; Type: CONSTRAINT; Schema: cutover; Owner: -
--

ALTER TABLE ONLY cutover.move
    ADD CONSTRAINT move_pkey PRIMARY KEY (plan, move);


--
-- Name: plan plan_pkey; Type: CONSTRAINT; Schema: cutover; Owner: -
--

ALTER TABLE ONLY cutover.plan
    ADD CONSTRAINT plan_pkey PRIMARY KEY (plan);


--
-- Name: position position_id_key; Type: CONSTRAINT; Schema: cutover; Owner: -
--

ALTER TABLE ONLY cutover."position"
    ADD CONSTRAINT position_id_key UNIQUE (id);


--
-- Name: position position_pkey; Type: CONSTRAINT; Schema: cutover; Owner: -
--

ALTER TABLE ONLY cutover."position"
    ADD CONSTRAINT position_pkey PRIMARY KEY (plan, move, partition);


--
-- Name: proof proof_pkey; Type: CONSTRAINT; Schema: cutover; Owner: -
--

ALTER TABLE ONLY cutover.proof
    ADD CONSTRAINT proof_pkey PRIMARY KEY (plan, move);


--
-- Name: reconcile_run reconcile_run_pkey; Type: CONSTRAINT; Schema: cutover; Owner: -
--

ALTER TABLE ONLY cutover.reconcile_run
    ADD CONSTRAINT reconcile_run_pkey PRIMARY KEY (id);


--
-- Name: replay replay_pkey; Type: CONSTRAINT; Schema: cutover; Owner: -
--

ALTER TABLE ONLY cutover.replay
    ADD CONSTRAINT replay_pkey PRIMARY KEY (id);


--
-- Name: review review_pkey; Type: CONSTRAINT; Schema: cutover; Owner: -
--

ALTER TABLE ONLY cutover.review
    ADD CONSTRAINT review_pkey PRIMARY KEY (id);


--
-- Name: schema_version schema_version_pkey; Type: CONSTRAINT; Schema: cutover; Owner: -
--

ALTER TABLE ONLY cutover.schema_version
    ADD CONSTRAINT schema_version_pkey PRIMARY KEY (version);


--
-- Name: Bestand_cutover_identity; Type: INDEX; Schema: Lager; Owner: -
--

CREATE UNIQUE INDEX "Bestand_cutover_identity" ON "Lager"."Bestand" USING btree (mandant, "ArtikelNr", id);

ALTER TABLE ONLY "Lager"."Bestand" REPLICA IDENTITY USING INDEX "Bestand_cutover_identity";


--
-- Name: Bestand_mandant_ArtikelNr_idx; Type: INDEX; Schema: Lager; Owner: -
--

CREATE INDEX "Bestand_mandant_ArtikelNr_idx" ON "Lager"."Bestand" USING btree (mandant, "ArtikelNr");


--
-- Name: dead_letter_open; Type: INDEX; Schema: cutover; Owner: -
--

CREATE UNIQUE INDEX dead_letter_open ON cutover.dead_letter USING btree (plan, move, key) WHERE (state = 'open'::text);


--
-- Name: difference_gone; Type: INDEX; Schema: cutover; Owner: -
--

CREATE INDEX difference_gone ON cutover.difference USING btree (plan, move, gone_at) WHERE (gone_at IS NOT NULL);


--
-- Name: difference_standing; Type: INDEX; Schema: cutover; Owner: -
--

CREATE UNIQUE INDEX difference_standing ON cutover.difference USING btree (plan, move, key) WHERE (gone_at IS NULL);


--
-- Name: reconcile_run_latest; Type: INDEX; Schema: cutover; Owner: -
--

CREATE INDEX reconcile_run_latest ON cutover.reconcile_run USING btree (plan, move, finished_at DESC);


--
-- Name: replay_unfinished; Type: INDEX; Schema: cutover; Owner: -
--

CREATE INDEX replay_unfinished ON cutover.replay USING btree (plan, move) WHERE (finished_at IS NULL);


--
-- Name: Bestand Bestand_mandant_ArtikelNr_fkey; Type: FK CONSTRAINT; Schema: Lager; Owner: -
--

ALTER TABLE ONLY "Lager"."Bestand"
    ADD CONSTRAINT "Bestand_mandant_ArtikelNr_fkey" FOREIGN KEY (mandant, "ArtikelNr") REFERENCES "Lager"."Artikel"(mandant, "Nr") ON DELETE CASCADE;


--
-- Name: Preis Preis_mandant_ArtikelNr_fkey; Type: FK CONSTRAINT; Schema: Lager; Owner: -
--

ALTER TABLE ONLY "Lager"."Preis"
    ADD CONSTRAINT "Preis_mandant_ArtikelNr_fkey" FOREIGN KEY (mandant, "ArtikelNr") REFERENCES "Lager"."Artikel"(mandant, "Nr") ON DELETE CASCADE;


--
-- Name: accepted accepted_plan_move_fkey; Type: FK CONSTRAINT; Schema: cutover; Owner: -
--

ALTER TABLE ONLY cutover.accepted
    ADD CONSTRAINT accepted_plan_move_fkey FOREIGN KEY (plan, move) REFERENCES cutover.move(plan, move) ON DELETE CASCADE;


--
-- Name: accepted accepted_review_fkey; Type: FK CONSTRAINT; Schema: cutover; Owner: -
--

ALTER TABLE ONLY cutover.accepted
    ADD CONSTRAINT accepted_review_fkey FOREIGN KEY (review) REFERENCES cutover.review(id) ON DELETE CASCADE;


--
-- Name: backfill backfill_plan_move_fkey; Type: FK CONSTRAINT; Schema: cutover; Owner: -
--

ALTER TABLE ONLY cutover.backfill
    ADD CONSTRAINT backfill_plan_move_fkey FOREIGN KEY (plan, move) REFERENCES cutover.move(plan, move) ON DELETE CASCADE;


--
-- Name: dead_letter dead_letter_plan_move_fkey; Type: FK CONSTRAINT; Schema: cutover; Owner: -
--

ALTER TABLE ONLY cutover.dead_letter
    ADD CONSTRAINT dead_letter_plan_move_fkey FOREIGN KEY (plan, move) REFERENCES cutover.move(plan, move) ON DELETE CASCADE;


--
-- Name: difference difference_plan_move_fkey; Type: FK CONSTRAINT; Schema: cutover; Owner: -
--

ALTER TABLE ONLY cutover.difference
    ADD CONSTRAINT difference_plan_move_fkey FOREIGN KEY (plan, move) REFERENCES cutover.move(plan, move) ON DELETE CASCADE;


--
-- Name: move move_plan_fkey; Type: FK CONSTRAINT; Schema: cutover; Owner: -
--

ALTER TABLE ONLY cutover.move
    ADD CONSTRAINT move_plan_fkey FOREIGN KEY (plan) REFERENCES cutover.plan(plan) ON DELETE CASCADE;


--
-- Name: position position_plan_move_fkey; Type: FK CONSTRAINT; Schema: cutover; Owner: -
--

ALTER TABLE ONLY cutover."position"
    ADD CONSTRAINT position_plan_move_fkey FOREIGN KEY (plan, move) REFERENCES cutover.move(plan, move) ON DELETE CASCADE;


--
-- Name: proof proof_plan_move_fkey; Type: FK CONSTRAINT; Schema: cutover; Owner: -
--

ALTER TABLE ONLY cutover.proof
    ADD CONSTRAINT proof_plan_move_fkey FOREIGN KEY (plan, move) REFERENCES cutover.move(plan, move) ON DELETE CASCADE;


--
-- Name: reconcile_run reconcile_run_plan_move_fkey; Type: FK CONSTRAINT; Schema: cutover; Owner: -
--

ALTER TABLE ONLY cutover.reconcile_run
    ADD CONSTRAINT reconcile_run_plan_move_fkey FOREIGN KEY (plan, move) REFERENCES cutover.move(plan, move) ON DELETE CASCADE;


--
-- Name: replay replay_plan_move_fkey; Type: FK CONSTRAINT; Schema: cutover; Owner: -
--

ALTER TABLE ONLY cutover.replay
    ADD CONSTRAINT replay_plan_move_fkey FOREIGN KEY (plan, move) REFERENCES cutover.move(plan, move) ON DELETE CASCADE;


--
-- Name: review review_plan_move_fkey; Type: FK CONSTRAINT; Schema: cutover; Owner: -
--

ALTER TABLE ONLY cutover.review
    ADD CONSTRAINT review_plan_move_fkey FOREIGN KEY (plan, move) REFERENCES cutover.move(plan, move) ON DELETE CASCADE;


--
-- Name: cutover_lager; Type: PUBLICATION; Schema: -; Owner: -
--

CREATE PUBLICATION cutover_lager WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true);


--
-- Name: cutover_lager Artikel; Type: PUBLICATION TABLE; Schema: Lager; Owner: -
--

ALTER PUBLICATION cutover_lager ADD TABLE ONLY "Lager"."Artikel" (mandant, "Nr", "Bezeichnung");


--
-- Name: cutover_lager Bestand; Type: PUBLICATION TABLE; Schema: Lager; Owner: -
--

ALTER PUBLICATION cutover_lager ADD TABLE ONLY "Lager"."Bestand" (id, mandant, "ArtikelNr", "Lagerort", "Menge");


--
-- Name: cutover_lager Preis; Type: PUBLICATION TABLE; Schema: Lager; Owner: -
--

ALTER PUBLICATION cutover_lager ADD TABLE ONLY "Lager"."Preis" (mandant, "ArtikelNr", "Währung", "Betrag");


--
-- Name: TABLE product_current; Type: ACL; Schema: Lager; Owner: -
--

REVOKE ALL ON TABLE "Lager".product_current FROM postgres;
GRANT INSERT,REFERENCES,DELETE,TRIGGER,TRUNCATE,UPDATE ON TABLE "Lager".product_current TO postgres;
GRANT SELECT ON TABLE "Lager".product_current TO postgres WITH GRANT OPTION;


--
-- PostgreSQL database dump complete
--


