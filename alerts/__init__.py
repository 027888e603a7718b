"""From readings to people: rules, alerts, incidents, teams, delivery."""
