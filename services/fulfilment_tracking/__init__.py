"""Fulfilment tracking: the life of each fulfilment order and parcel, and the unified status of each order.

Decides  when a location is instructed, held, amended or asked to cancel; what each report of a location or carrier adds to what is known;
         which part of a cancel or change still came in time; when goods count as delivered or not collected
Reads    sourcing decisions, order events, reports of locations and carriers, return events; policies as a view
Writes   instructions, normalised fulfilment events, effects on stock, and the status document of every order
"""
