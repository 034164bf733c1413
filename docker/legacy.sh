#!/bin/bash
# Fills a new database with SoleFlipper's legacy tables, once, when the volume is empty.
set -euo pipefail
psql --set ON_ERROR_STOP=1 --quiet --output /dev/null --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --single-transaction \
    --command "SET soleflipper.rows = '${LEGACY_ROWS:-20000}'" \
    --command "SET soleflipper.seed = '1'" \
    --command "SELECT set_config('soleflipper.at', (now() AT TIME ZONE 'UTC')::text, false)" \
    --file /soleflipper/legacy.sql --file /soleflipper/seed.sql --file /soleflipper/legacy_references.sql
