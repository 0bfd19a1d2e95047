"""Every view by psycopg, in both protocols: port, then the commands, on the command line."""
import sys
import psycopg

port, commands = sys.argv[1], sys.argv[2:]
with psycopg.connect(f"host=127.0.0.1 port={port} user=guest dbname=weir", autocommit=True) as console:
    for command in commands:
        simple = console.execute(command)
        columns, rows = [column.name for column in simple.description], simple.fetchall()
        # With binary results psycopg speaks the extended protocol, and prepares at once.
        extended = console.execute(command, binary=True, prepare=True)
        assert [column.name for column in extended.description] == columns, command
        types = [[type(cell) for cell in row] for row in rows]
        assert [[type(cell) for cell in row] for row in extended.fetchall()] == types, command
        print(command, len(rows))
