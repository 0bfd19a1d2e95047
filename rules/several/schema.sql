CREATE TABLE users (id bigint PRIMARY KEY, name text COLLATE "C", email text, country text, born date);

CREATE TABLE orders (
    id         bigint,
    user_id    bigint NOT NULL,
    status     text COLLATE "C",
    city       text,
    items      int,
    total      numeric,
    weight     real,
    placed_at  timestamptz,
    PRIMARY KEY (user_id, id)
);

CREATE TABLE visits (user_id bigint, number text, page text);

CREATE TABLE countries (code text PRIMARY KEY, name text, continent text);
