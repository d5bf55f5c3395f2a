"""What lies between clients, gateway and providers in the laboratory: HTTP, a client, and a proxy that can misbehave."""
