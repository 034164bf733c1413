-- The mapping's view as prepare made it. A column under it can be retyped only once it is dropped, and a retyped column has
-- other values without a change in the stream.
ALTER TABLE cutover.move ADD COLUMN view_oid oid;
