"""Returns decides what may come back, where to, what becomes of it, and what is due to the buyer.

Reads      return requests and receipts, order events, fulfilment events; policies and locations as views
Publishes  return events, and the effects of returned goods on stock

Requests are answered once. Goods are never refused: what is back at a location is booked, and what nobody can explain opens an
exception.
"""
