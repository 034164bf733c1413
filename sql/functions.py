"""Functions whose nature the text of a mapping must tell before PostgreSQL is asked."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


AGGREGATES = _words(
    """any_value array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count covar_pop covar_samp every json_agg
    json_agg_strict json_object_agg jsonb_agg jsonb_agg_strict jsonb_object_agg max min mode percentile_cont
    percentile_disc range_agg range_intersect_agg regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope
    regr_sxx regr_sxy regr_syy stddev stddev_pop stddev_samp string_agg sum var_pop var_samp variance xmlagg"""
)
SET_RETURNING = _words(
    """generate_series generate_subscripts json_array_elements json_array_elements_text json_each json_each_text
    json_object_keys json_populate_recordset json_to_recordset jsonb_array_elements jsonb_array_elements_text jsonb_each
    jsonb_each_text jsonb_object_keys jsonb_path_query jsonb_populate_recordset jsonb_to_recordset regexp_matches
    regexp_split_to_table string_to_table unnest"""
)
ONE_ROW = _words("json_to_record jsonb_to_record json_populate_record jsonb_populate_record")
CLOCK = _words(
    """now transaction_timestamp statement_timestamp current_timestamp current_date current_time localtime
    localtimestamp"""
)
VOLATILE = _words(
    """random random_normal gen_random_uuid uuidv4 uuidv7 uuid_generate_v1 uuid_generate_v1mc uuid_generate_v4
    clock_timestamp timeofday nextval currval lastval setval setseed pg_sleep txid_current pg_current_xact_id
    gen_random_bytes tablesample"""
)
SESSION = _words(
    """current_user session_user user current_role current_catalog current_schema current_setting pg_backend_pid
    inet_client_addr inet_client_port current_schemas current_query"""
)
