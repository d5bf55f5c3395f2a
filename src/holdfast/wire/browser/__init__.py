"""What browsers send that no SDK does: preflights, upload forms, and requests to a static website. Pure, like all of `wire`."""
