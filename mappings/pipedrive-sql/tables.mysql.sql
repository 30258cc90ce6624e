-- Tables for the mappings of this folder, on MySQL and MariaDB. One set serves Zoho CRM and Pipedrive.
-- crmsync connect --install adds triggers that note deletions too.

CREATE TABLE accounts (
  id bigint AUTO_INCREMENT PRIMARY KEY,
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
  description mediumtext,
  owner varchar(100),
  zoho_id varchar(255) UNIQUE,
  pipedrive_id varchar(255) UNIQUE,
  updated_at timestamp(3) DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3)
) CHARACTER SET utf8mb4;

CREATE TABLE contacts (
  id bigint AUTO_INCREMENT PRIMARY KEY,
  first_name varchar(40),
  last_name varchar(80) NOT NULL,
  email varchar(100),
  phone varchar(30),
  mobile varchar(30),
  title varchar(100),
  account_id bigint,
  owner varchar(100),
  zoho_id varchar(255) UNIQUE,
  pipedrive_id varchar(255) UNIQUE,
  updated_at timestamp(3) DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
  FOREIGN KEY (account_id) REFERENCES accounts (id)
) CHARACTER SET utf8mb4;

CREATE TABLE deals (
  id bigint AUTO_INCREMENT PRIMARY KEY,
  name varchar(120) NOT NULL,
  amount decimal(18, 2),
  currency char(3),
  closing_date date,
  stage varchar(120),
  status varchar(20),
  account_id bigint,
  contact_id bigint,
  owner varchar(100),
  zoho_id varchar(255) UNIQUE,
  pipedrive_id varchar(255) UNIQUE,
  updated_at timestamp(3) DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
  FOREIGN KEY (account_id) REFERENCES accounts (id),
  FOREIGN KEY (contact_id) REFERENCES contacts (id)
) CHARACTER SET utf8mb4;

CREATE TABLE products (
  id bigint AUTO_INCREMENT PRIMARY KEY,
  name varchar(200) NOT NULL,
  code varchar(40),
  description mediumtext,
  unit varchar(100),
  active boolean,
  owner varchar(100),
  zoho_id varchar(255) UNIQUE,
  pipedrive_id varchar(255) UNIQUE,
  updated_at timestamp(3) DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3)
) CHARACTER SET utf8mb4;

CREATE INDEX accounts_updated_at ON accounts (updated_at);
CREATE INDEX contacts_updated_at ON contacts (updated_at);
CREATE INDEX deals_updated_at ON deals (updated_at);
CREATE INDEX products_updated_at ON products (updated_at);
