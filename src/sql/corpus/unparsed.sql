-- Legal statements that sqlparser cannot read even after sql::compat. None of them may be taken for
-- a syntax error: each is known by its first words, or refused for what it is. When one of them
-- parses one day, the test says so and it moves to parsed.sql.

-- refused, for a table could hide in what is not understood
SELECT json_array(SELECT a FROM t);
SELECT xmlelement(name x, (SELECT a FROM t));

-- rare spellings
SELECT a::int ARRAY[4] FROM t;
SELECT date E'\xff';
COPY BINARY orders FROM STDIN;

-- statements known by their first words
CREATE SEQUENCE s START WITH 5 INCREMENT BY 10;
CREATE STATISTICS s (ndistinct) ON a, b FROM t;
CREATE RULE r AS ON INSERT TO t DO ALSO (DELETE FROM a; DELETE FROM b);
CREATE PUBLICATION p FOR ALL TABLES;
ALTER SEQUENCE s RESTART WITH 5;
ALTER TABLE t ATTACH PARTITION p FOR VALUES IN (1);
VACUUM (VERBOSE, ANALYZE) t;
REINDEX TABLE CONCURRENTLY t;
REFRESH MATERIALIZED VIEW CONCURRENTLY v;
DO $$ BEGIN NULL; END $$;
SECURITY LABEL ON TABLE t IS 'x';
REASSIGN OWNED BY a TO b;
IMPORT FOREIGN SCHEMA s FROM SERVER f INTO t;
CHECKPOINT;
CLUSTER t USING i;
