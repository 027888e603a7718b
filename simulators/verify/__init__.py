"""What was sent, compared with what came of it; and a team's side of the webhook, which writes down what it gets."""
