-- The server's clock as converge saw it since the last refresh: a clock that is set back or forth makes more keys due
-- than those between the last refresh and now (A10).
ALTER TABLE cutover.position ADD COLUMN clock_low timestamptz, ADD COLUMN clock_high timestamptz;
ALTER TABLE cutover.move ADD COLUMN clock_low timestamptz, ADD COLUMN clock_high timestamptz;  -- taken over, not refreshed yet
