"""Order capture decides whether an order is valid and may go on, and it alone keeps the order's money.

It validates what channels place, holds what can be mended and looks again when items or payments arrive; it takes holds,
changes and cancels, and answers each request once, after the word of whoever holds the goods. It asks payment providers
to capture, void and refund, invoices what was handed over, and closes the order.

Reads    channel orders, payment reports, sourcing decisions, fulfilment events, return events, items;
         as views: items, locations, policies, channels
Writes   answers to channels, order events, payment requests
"""
