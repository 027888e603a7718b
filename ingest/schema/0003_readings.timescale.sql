-- Readings on TimescaleDB: a hypertable, column store once nothing late is expected any more, continuous aggregates.
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
);
SELECT create_hypertable('readings', by_range('time', INTERVAL '1 day'), create_default_indexes => false);
CREATE INDEX readings_by_device ON readings (device, time DESC);
ALTER TABLE readings SET (
    timescaledb.enable_columnstore, timescaledb.segmentby = 'device', timescaledb.orderby = 'time DESC'
);
-- the lateness horizon: what a device buffers arrives within a week
CALL add_columnstore_policy('readings', after => INTERVAL '7 days');

CREATE MATERIALIZED VIEW readings_1h WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT device, time_bucket('1 hour', time) AS bucket, count(*) AS readings,
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
FROM readings GROUP BY 1, 2 WITH NO DATA;

CREATE MATERIALIZED VIEW readings_1d WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT device, time_bucket('1 day', bucket) AS bucket, sum(readings)::bigint AS readings,
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
FROM readings_1h GROUP BY 1, 2 WITH NO DATA;

-- Keep so many days of readings, NULL = all. The aggregates stay: their refresh no longer looks at what is dropped.
CREATE FUNCTION keep_readings(days integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    since interval := CASE WHEN days IS NOT NULL THEN make_interval(days => days) - INTERVAL '1 day' END;
BEGIN
    PERFORM remove_retention_policy('readings', if_exists => true);
    PERFORM remove_continuous_aggregate_policy('readings_1h', if_exists => true);
    PERFORM remove_continuous_aggregate_policy('readings_1d', if_exists => true);
    PERFORM add_continuous_aggregate_policy('readings_1h', start_offset => since,
        end_offset => INTERVAL '1 hour', schedule_interval => INTERVAL '10 minutes');
    PERFORM add_continuous_aggregate_policy('readings_1d', start_offset => since,
        end_offset => INTERVAL '1 day', schedule_interval => INTERVAL '1 hour');
    IF days IS NOT NULL THEN
        IF days < 4 THEN
            RAISE EXCEPTION 'keep at least 4 days of readings, or NULL for all';
        END IF;
        PERFORM add_retention_policy('readings', make_interval(days => days));
    END IF;
END $$;
SELECT keep_readings(NULL);
