CREATE TABLE users (id bigint PRIMARY KEY, name text, email text, country text, n int);

CREATE TABLE orders (
    id         bigint,
    user_id    bigint NOT NULL,
    status     text,
    total      numeric,
    placed_at  timestamptz DEFAULT now(),
    PRIMARY KEY (user_id, id)
);

CREATE TABLE visits (user_id bigint, number text, page text);

CREATE TABLE tickets (id bigserial PRIMARY KEY, note text);

CREATE TABLE countries (code text PRIMARY KEY, name text, continent text);
