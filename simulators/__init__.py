"""Pretend devices that speak only MQTT."""
