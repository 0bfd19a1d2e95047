-- The gather database of docker/compose.yaml: the shards' schema, and no rows.
CREATE DATABASE gather;
\connect gather
\include /docker-entrypoint-initdb.d/1-schema.sql
