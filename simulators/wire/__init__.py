"""Speaking MQTT: messages, connections, pace."""
