-- Readings on plain PostgreSQL: a partition a day, made ahead by the maintenance job; what fits none of them
-- (the year 2012, the year 2099) goes to the default partition.
CREATE TABLE readings (
    device integer NOT NULL, time timestamptz NOT NULL,
    delay_ms bigint NOT NULL,       -- received this much after `time`
    device_time timestamptz,        -- what the device itself said; NULL: nothing
    seq bigint, late text, batch bigint NOT NULL,
    temperature double precision, temperature_2 double precision, device_temperature double precision,
    smoke double precision, smoke_raw double precision, humidity double precision, co double precision,
    battery double precision, voltage double precision, current double precision, rssi double precision,
    smoke_alarm boolean, heat_alarm boolean, manual_alarm boolean, tamper boolean, fault boolean,
    low_battery boolean, test boolean, muted boolean, mains_lost boolean, online boolean
) PARTITION BY RANGE (time);
CREATE INDEX readings_by_device ON readings (device, time DESC);
CREATE INDEX readings_by_batch ON readings USING brin (batch) WITH (pages_per_range = 32);
CREATE TABLE readings_default PARTITION OF readings DEFAULT;

-- Make the partition of a UTC day; false when it is there already. Rows of that day move out of the default one.
CREATE FUNCTION make_readings_day(day date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    part text := 'readings_' || to_char(day, 'YYYYMMDD');
    first timestamptz := day::timestamp AT TIME ZONE 'UTC';
    past timestamptz := (day + 1)::timestamp AT TIME ZONE 'UTC';
BEGIN
    IF to_regclass(part) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE readings INCLUDING DEFAULTS)', part);
    IF EXISTS (SELECT FROM readings_default WHERE time >= first AND time < past) THEN
        LOCK TABLE readings_default IN SHARE ROW EXCLUSIVE MODE;
        EXECUTE format('WITH moved AS (DELETE FROM readings_default WHERE time >= %L AND time < %L RETURNING *)'
                       ' INSERT INTO %I SELECT * FROM moved', first, past, part);
    END IF;
    EXECUTE format('ALTER TABLE readings ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', part, first, past);
    RETURN true;
END $$;
SELECT make_readings_day((now() AT TIME ZONE 'UTC')::date + offset_days) FROM generate_series(-14, 7) AS offset_days;

-- Hours that are over are kept as rows; the view adds the hours since, computed when asked.
CREATE TABLE readings_1h_kept (
    device integer NOT NULL, bucket timestamptz NOT NULL, readings bigint NOT NULL,
    temperature_avg double precision, temperature_min double precision, temperature_max double precision, temperature_count bigint NOT NULL,
    temperature_2_avg double precision, temperature_2_min double precision, temperature_2_max double precision, temperature_2_count bigint NOT NULL,
    device_temperature_avg double precision, device_temperature_min double precision, device_temperature_max double precision, device_temperature_count bigint NOT NULL,
    smoke_avg double precision, smoke_min double precision, smoke_max double precision, smoke_count bigint NOT NULL,
    smoke_raw_avg double precision, smoke_raw_min double precision, smoke_raw_max double precision, smoke_raw_count bigint NOT NULL,
    humidity_avg double precision, humidity_min double precision, humidity_max double precision, humidity_count bigint NOT NULL,
    co_avg double precision, co_min double precision, co_max double precision, co_count bigint NOT NULL,
    battery_avg double precision, battery_min double precision, battery_max double precision, battery_count bigint NOT NULL,
    voltage_avg double precision, voltage_min double precision, voltage_max double precision, voltage_count bigint NOT NULL,
    current_avg double precision, current_min double precision, current_max double precision, current_count bigint NOT NULL,
    rssi_avg double precision, rssi_min double precision, rssi_max double precision, rssi_count bigint NOT NULL,
    PRIMARY KEY (device, bucket)
);
CREATE TABLE rollups (name text PRIMARY KEY, kept_until timestamptz NOT NULL);
INSERT INTO rollups VALUES ('readings_1h', date_bin('1 hour', now(), timestamptz '2000-01-01 00:00:00+00'));

CREATE FUNCTION readings_kept_until() RETURNS timestamptz LANGUAGE sql STABLE AS
$$ SELECT kept_until FROM rollups WHERE name = 'readings_1h' $$;

CREATE VIEW readings_1h AS
SELECT * FROM readings_1h_kept WHERE bucket < readings_kept_until()
UNION ALL
SELECT device, date_bin('1 hour', time, timestamptz '2000-01-01 00:00:00+00') AS bucket, count(*) AS readings,
    avg(temperature) AS temperature_avg, min(temperature) AS temperature_min, max(temperature) AS temperature_max, count(temperature) AS temperature_count,
    avg(temperature_2) AS temperature_2_avg, min(temperature_2) AS temperature_2_min, max(temperature_2) AS temperature_2_max, count(temperature_2) AS temperature_2_count,
    avg(device_temperature) AS device_temperature_avg, min(device_temperature) AS device_temperature_min, max(device_temperature) AS device_temperature_max, count(device_temperature) AS device_temperature_count,
    avg(smoke) AS smoke_avg, min(smoke) AS smoke_min, max(smoke) AS smoke_max, count(smoke) AS smoke_count,
    avg(smoke_raw) AS smoke_raw_avg, min(smoke_raw) AS smoke_raw_min, max(smoke_raw) AS smoke_raw_max, count(smoke_raw) AS smoke_raw_count,
    avg(humidity) AS humidity_avg, min(humidity) AS humidity_min, max(humidity) AS humidity_max, count(humidity) AS humidity_count,
    avg(co) AS co_avg, min(co) AS co_min, max(co) AS co_max, count(co) AS co_count,
    avg(battery) AS battery_avg, min(battery) AS battery_min, max(battery) AS battery_max, count(battery) AS battery_count,
    avg(voltage) AS voltage_avg, min(voltage) AS voltage_min, max(voltage) AS voltage_max, count(voltage) AS voltage_count,
    avg(current) AS current_avg, min(current) AS current_min, max(current) AS current_max, count(current) AS current_count,
    avg(rssi) AS rssi_avg, min(rssi) AS rssi_min, max(rssi) AS rssi_max, count(rssi) AS rssi_count
FROM readings WHERE time >= readings_kept_until() GROUP BY 1, 2;

CREATE VIEW readings_1d AS
SELECT device, date_bin('1 day', bucket, timestamptz '2000-01-01 00:00:00+00') AS bucket, sum(readings)::bigint AS readings,
    sum(temperature_avg * temperature_count) / nullif(sum(temperature_count), 0) AS temperature_avg, min(temperature_min) AS temperature_min,
    max(temperature_max) AS temperature_max, sum(temperature_count)::bigint AS temperature_count,
    sum(temperature_2_avg * temperature_2_count) / nullif(sum(temperature_2_count), 0) AS temperature_2_avg, min(temperature_2_min) AS temperature_2_min,
    max(temperature_2_max) AS temperature_2_max, sum(temperature_2_count)::bigint AS temperature_2_count,
    sum(device_temperature_avg * device_temperature_count) / nullif(sum(device_temperature_count), 0) AS device_temperature_avg, min(device_temperature_min) AS device_temperature_min,
    max(device_temperature_max) AS device_temperature_max, sum(device_temperature_count)::bigint AS device_temperature_count,
    sum(smoke_avg * smoke_count) / nullif(sum(smoke_count), 0) AS smoke_avg, min(smoke_min) AS smoke_min,
    max(smoke_max) AS smoke_max, sum(smoke_count)::bigint AS smoke_count,
    sum(smoke_raw_avg * smoke_raw_count) / nullif(sum(smoke_raw_count), 0) AS smoke_raw_avg, min(smoke_raw_min) AS smoke_raw_min,
    max(smoke_raw_max) AS smoke_raw_max, sum(smoke_raw_count)::bigint AS smoke_raw_count,
    sum(humidity_avg * humidity_count) / nullif(sum(humidity_count), 0) AS humidity_avg, min(humidity_min) AS humidity_min,
    max(humidity_max) AS humidity_max, sum(humidity_count)::bigint AS humidity_count,
    sum(co_avg * co_count) / nullif(sum(co_count), 0) AS co_avg, min(co_min) AS co_min,
    max(co_max) AS co_max, sum(co_count)::bigint AS co_count,
    sum(battery_avg * battery_count) / nullif(sum(battery_count), 0) AS battery_avg, min(battery_min) AS battery_min,
    max(battery_max) AS battery_max, sum(battery_count)::bigint AS battery_count,
    sum(voltage_avg * voltage_count) / nullif(sum(voltage_count), 0) AS voltage_avg, min(voltage_min) AS voltage_min,
    max(voltage_max) AS voltage_max, sum(voltage_count)::bigint AS voltage_count,
    sum(current_avg * current_count) / nullif(sum(current_count), 0) AS current_avg, min(current_min) AS current_min,
    max(current_max) AS current_max, sum(current_count)::bigint AS current_count,
    sum(rssi_avg * rssi_count) / nullif(sum(rssi_count), 0) AS rssi_avg, min(rssi_min) AS rssi_min,
    max(rssi_max) AS rssi_max, sum(rssi_count)::bigint AS rssi_count
FROM readings_1h GROUP BY 1, 2;

-- How many days of readings are kept; no row = all. The maintenance job drops what is older.
CREATE TABLE readings_retention (one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row), days integer NOT NULL CHECK (days > 0));
CREATE FUNCTION keep_readings(days integer) RETURNS void LANGUAGE sql AS $$
    DELETE FROM readings_retention;
    INSERT INTO readings_retention (days) SELECT keep_readings.days WHERE keep_readings.days IS NOT NULL;
$$;
