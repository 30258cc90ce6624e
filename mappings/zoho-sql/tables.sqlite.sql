-- Tables for the mappings of this folder, on SQLite. One set serves Zoho CRM and Pipedrive.
-- crmsync connect --install adds triggers that note what changes; without them every run reads the tables whole.

CREATE TABLE accounts (
  id integer PRIMARY KEY AUTOINCREMENT,
  name varchar(200) NOT NULL,
  website varchar(255),
  phone varchar(30),
  employees integer,
  annual_revenue decimal(18, 2),
  billing_street varchar(250),
  billing_city varchar(100),
  billing_state varchar(100),
  billing_code varchar(30),
  billing_country varchar(100),
  description text,
  owner varchar(100),
  zoho_id varchar(255) UNIQUE,
  pipedrive_id varchar(255) UNIQUE
);

CREATE TABLE contacts (
  id integer PRIMARY KEY AUTOINCREMENT,
  first_name varchar(40),
  last_name varchar(80) NOT NULL,
  email varchar(100),
  phone varchar(30),
  mobile varchar(30),
  title varchar(100),
  account_id integer,
  owner varchar(100),
  zoho_id varchar(255) UNIQUE,
  pipedrive_id varchar(255) UNIQUE,
  FOREIGN KEY (account_id) REFERENCES accounts (id)
);

CREATE TABLE deals (
  id integer PRIMARY KEY AUTOINCREMENT,
  name varchar(120) NOT NULL,
  amount decimal(18, 2),
  currency char(3),
  closing_date date,
  stage varchar(120),
  status varchar(20),
  account_id integer,
  contact_id integer,
  owner varchar(100),
  zoho_id varchar(255) UNIQUE,
  pipedrive_id varchar(255) UNIQUE,
  FOREIGN KEY (account_id) REFERENCES accounts (id),
  FOREIGN KEY (contact_id) REFERENCES contacts (id)
);

CREATE TABLE products (
  id integer PRIMARY KEY AUTOINCREMENT,
  name varchar(200) NOT NULL,
  code varchar(40),
  description text,
  unit varchar(100),
  active boolean,
  owner varchar(100),
  zoho_id varchar(255) UNIQUE,
  pipedrive_id varchar(255) UNIQUE
);
